//! `_exit`: `exit` and `quick_exit` call handlers, this calls nobody. And `pthread_exit`, which takes the
//! stack away before anybody is called; `pthread_cancel` of oneself ends in the same.

use std::ffi::{c_int, c_void};

use crate::{hooks, real};

/// Tells of it first.
///
/// # Safety
/// That of `_exit`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _exit(status: c_int) -> ! {
    if let Some(hooks) = hooks() {
        // SAFETY: hooks are functions of their types.
        unsafe { (hooks.exit)(status) };
    }
    type Call = unsafe extern "C" fn(c_int) -> !;
    // SAFETY: the C library's function of this name has this type.
    unsafe { std::mem::transmute::<*mut c_void, Call>(real::EXIT.address())(status) }
}

/// The same function under C's name for it.
///
/// # Safety
/// That of `_Exit`.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the C library's name")]
pub unsafe extern "C" fn _Exit(status: c_int) -> ! {
    // SAFETY: the caller's word.
    unsafe { _exit(status) }
}

/// Tells of it first. The unwinder passes through here.
///
/// # Safety
/// That of `pthread_exit`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_exit(value: *mut c_void) -> ! {
    if let Some(hooks) = hooks() {
        // SAFETY: hooks are functions of their types.
        unsafe { (hooks.leave)() };
    }
    type Call = unsafe extern "C-unwind" fn(*mut c_void) -> !;
    // SAFETY: the C library's function of this name has this type.
    unsafe { std::mem::transmute::<*mut c_void, Call>(real::LEAVE.address())(value) }
}

/// Tells of it first, where a thread means itself: the stack is gone when the cancellation takes effect.
///
/// # Safety
/// That of `pthread_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_cancel(thread: libc::pthread_t) -> c_int {
    // SAFETY: no pointers are passed.
    let is_own = unsafe { libc::pthread_equal(thread, libc::pthread_self()) } != 0;
    if let Some(hooks) = hooks().filter(|_| is_own) {
        // SAFETY: hooks are functions of their types.
        unsafe { (hooks.leave)() };
    }
    type Call = unsafe extern "C-unwind" fn(libc::pthread_t) -> c_int;
    // SAFETY: the C library's function of this name has this type.
    unsafe { std::mem::transmute::<*mut c_void, Call>(real::CANCEL.address())(thread) }
}
