//! `sigaction` and `pthread_sigmask`, and the older functions that mean the same: in the C library these
//! do not go through the former, so each is one here.

use std::ffi::{c_int, c_void};

use crate::{hooks, real};

type Handler = libc::sighandler_t;

/// `SIG_HOLD` of signal.h.
const SIG_HOLD: Handler = 2;

/// # Safety
/// That of `sigaction`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaction(signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        match hooks() {
            Some(hooks) => (hooks.action)(signal, new, old),
            None => real::action(signal, new, old),
        }
    }
}

/// # Safety
/// That of `pthread_sigmask`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_sigmask(how: c_int, new: *const libc::sigset_t, old: *mut libc::sigset_t) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        match hooks() {
            Some(hooks) => (hooks.mask)(how, new, old),
            None => real::mask(how, new, old),
        }
    }
}

/// # Safety
/// That of `sigprocmask`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigprocmask(how: c_int, new: *const libc::sigset_t, old: *mut libc::sigset_t) -> c_int {
    type Call = unsafe extern "C" fn(c_int, *const libc::sigset_t, *mut libc::sigset_t) -> c_int;
    // SAFETY: the caller's word; the C library's function of this name has this type.
    unsafe {
        let Some(hooks) = hooks() else {
            return std::mem::transmute::<*mut c_void, Call>(real::MASK.address())(how, new, old);
        };
        match (hooks.mask)(how, new, old) {
            0 => 0,
            error => {
                *libc::__errno_location() = error;
                -1
            }
        }
    }
}

/// Sets a handler with these flags, which blocks its own signal or none; gives the one before.
unsafe fn set(signal: c_int, handler: Handler, flags: c_int, blocks: bool) -> Handler {
    // SAFETY: all zero is a value of the structs; the sets are ours; `sigaction` checks the number.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        let mut old: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = handler;
        new.sa_flags = flags;
        if blocks && libc::sigaddset(&mut new.sa_mask, signal) < 0 {
            return libc::SIG_ERR;
        }
        if sigaction(signal, &new, &mut old) < 0 { libc::SIG_ERR } else { old.sa_sigaction }
    }
}

unsafe fn older(function: &real::Function, signal: c_int, handler: Handler) -> Handler {
    type Call = unsafe extern "C" fn(c_int, Handler) -> Handler;
    // SAFETY: the C library's functions of these names have this type; the rest is the caller's word.
    unsafe { std::mem::transmute::<*mut c_void, Call>(function.address())(signal, handler) }
}

/// BSD's meaning, which is glibc's too.
///
/// # Safety
/// That of `signal`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn signal(signal: c_int, handler: Handler) -> Handler {
    // SAFETY: the caller's word.
    unsafe {
        match hooks() {
            Some(_) => set(signal, handler, libc::SA_RESTART, true),
            None => older(&real::SIGNAL, signal, handler),
        }
    }
}

/// # Safety
/// That of `bsd_signal`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bsd_signal(number: c_int, handler: Handler) -> Handler {
    // SAFETY: the caller's word.
    unsafe { signal(number, handler) }
}

/// # Safety
/// That of `ssignal`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ssignal(number: c_int, handler: Handler) -> Handler {
    // SAFETY: the caller's word.
    unsafe { signal(number, handler) }
}

/// System V's meaning: the handler is called once.
///
/// # Safety
/// That of `sysv_signal`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sysv_signal(signal: c_int, handler: Handler) -> Handler {
    // SAFETY: the caller's word.
    unsafe {
        match hooks() {
            Some(_) => set(signal, handler, libc::SA_RESETHAND | libc::SA_NODEFER, false),
            None => older(&real::SYSV_SIGNAL, signal, handler),
        }
    }
}

/// What programs that ask for strict X/Open call as `signal`.
///
/// # Safety
/// That of `sysv_signal`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sysv_signal(signal: c_int, handler: Handler) -> Handler {
    // SAFETY: the caller's word.
    unsafe { sysv_signal(signal, handler) }
}

/// # Safety
/// That of `sigset`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigset(signal: c_int, handler: Handler) -> Handler {
    if hooks().is_none() {
        // SAFETY: the caller's word.
        return unsafe { older(&real::SET, signal, handler) };
    }
    // SAFETY: all zero is a value of the structs; the sets are ours.
    unsafe {
        let mut only: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        if libc::sigaddset(&mut only, signal) < 0 {
            return libc::SIG_ERR;
        }
        let how = if handler == SIG_HOLD { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
        let old = if handler == SIG_HOLD {
            let mut old: libc::sigaction = std::mem::zeroed();
            if sigaction(signal, std::ptr::null(), &mut old) < 0 { libc::SIG_ERR } else { old.sa_sigaction }
        } else {
            set(signal, handler, 0, false)
        };
        if old == libc::SIG_ERR || sigprocmask(how, &only, &mut before) < 0 {
            return libc::SIG_ERR;
        }
        if libc::sigismember(&before, signal) == 1 { SIG_HOLD } else { old }
    }
}
