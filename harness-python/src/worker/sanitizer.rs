//! A sanitizer in this process, and Python's stack when it ends the process.
//!
//! A sanitizer writes its report and aborts; its own handlers of the fatal signals must come before
//! anybody's who raises the signal again, or the report names that handler and not the target. So
//! faulthandler, which does raise again, listens to a signal that nobody else uses, and the handler of
//! SIGABRT, which comes last, raises that one.

use std::ffi::{CStr, c_int};
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

/// In every sanitizer's runtime.
const MARK: &CStr = c"__sanitizer_set_death_callback";

static IS_HEARD: AtomicBool = AtomicBool::new(false);

/// Whether a sanitizer's runtime is loaded for everybody to use.
#[pyfunction]
pub fn has_sanitizer() -> bool {
    // SAFETY: the name ends with a zero; the address is only compared.
    unsafe { !libc::dlsym(libc::RTLD_DEFAULT, MARK.as_ptr()).is_null() }
}

/// The signal by which faulthandler is asked for Python's stack: the last but one of the real-time
/// ones, which no library in wide use takes.
pub fn stack_signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// Looks whether faulthandler listens.
pub fn listen() {
    // SAFETY: all zero is a value of the struct, and the pointer to it is writable.
    let handler = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(stack_signal(), std::ptr::null(), &mut action);
        action.sa_sigaction
    };
    IS_HEARD.store(has_sanitizer() && handler != libc::SIG_DFL && handler != libc::SIG_IGN, Ordering::Relaxed);
}

/// Has Python's stack written, when `signal` is the one by which a sanitizer ends the process. Safe in
/// a signal handler.
pub fn write_stack(signal: c_int) {
    if signal == libc::SIGABRT && IS_HEARD.swap(false, Ordering::Relaxed) {
        // SAFETY: no pointers are passed; the handler is faulthandler's, which is made for this.
        unsafe { libc::raise(stack_signal()) };
    }
}
