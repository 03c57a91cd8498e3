//! `pthread_create`: a thread says that it began, in its own name.

use std::ffi::{c_int, c_void};

use crate::{hooks, real};

type Routine = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

struct Start {
    routine: Routine,
    argument: *mut c_void,
}

/// Has the new thread tell of itself before its function runs.
///
/// # Safety
/// That of `pthread_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    routine: Routine,
    argument: *mut c_void,
) -> c_int {
    type Call = unsafe extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, Routine, *mut c_void) -> c_int;
    // SAFETY: the C library's function of this name has this type.
    let create = unsafe { std::mem::transmute::<*mut c_void, Call>(real::CREATE.address()) };
    if hooks().is_none() {
        // SAFETY: the caller's word.
        return unsafe { create(thread, attributes, routine, argument) };
    }
    let start = Box::into_raw(Box::new(Start { routine, argument }));
    // SAFETY: the caller's word; `begin` takes what it is given here.
    let code = unsafe { create(thread, attributes, begin, start.cast()) };
    if code != 0 {
        // SAFETY: no thread was made, so nobody else has it.
        drop(unsafe { Box::from_raw(start) });
    }
    code
}

/// No value with a destructor lives while the routine runs: an exception or a cancellation passes
/// through here.
unsafe extern "C-unwind" fn begin(start: *mut c_void) -> *mut c_void {
    // SAFETY: it is the box that `pthread_create` above made for this thread.
    let Start { routine, argument } = *unsafe { Box::from_raw(start.cast::<Start>()) };
    if let Some(hooks) = hooks() {
        // SAFETY: hooks are functions of their types.
        unsafe { (hooks.thread)() };
    }
    // SAFETY: what the target asked for.
    unsafe { routine(argument) }
}
