//! A sanitizer in this process, and Python's stack when it ends the process.
//!
//! A sanitizer writes its report, calls back, and ends the process, with a signal or an exit code. Its
//! own handlers of the fatal signals must come before anybody's who raises the signal again, or the
//! report names that handler and not the target. So faulthandler, which does raise again, listens to a
//! signal that nobody else uses, and the sanitizer's callback raises that one.

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

/// In every sanitizer's runtime (sanitizer/common_interface_defs.h).
const MARK: &CStr = c"__sanitizer_set_death_callback";

static IS_HEARD: AtomicBool = AtomicBool::new(false);

/// Whether a sanitizer's runtime is loaded for everybody to use.
#[pyfunction]
pub fn has_sanitizer() -> bool {
    !set_death_callback().is_null()
}

fn set_death_callback() -> *mut c_void {
    // SAFETY: the name ends with a zero.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, MARK.as_ptr()) }
}

/// The signal by which faulthandler is asked for Python's stack: the last but one of the real-time
/// ones, which no library in wide use takes.
pub fn stack_signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// Has a sanitizer, if there is one, call `on_report` when it has written its report; looks whether
/// faulthandler listens.
pub fn listen(on_report: extern "C" fn()) {
    let set = set_death_callback();
    if set.is_null() {
        return;
    }
    // SAFETY: the function under this name has this type; all zero is a value of the struct, and the
    // pointer to it is writable.
    let handler = unsafe {
        std::mem::transmute::<*mut c_void, extern "C" fn(extern "C" fn())>(set)(on_report);
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(stack_signal(), std::ptr::null(), &mut action);
        action.sa_sigaction
    };
    IS_HEARD.store(handler != libc::SIG_DFL && handler != libc::SIG_IGN, Ordering::Relaxed);
}

/// Has Python's stack written. Safe in a signal handler.
pub fn write_stack() {
    if IS_HEARD.swap(false, Ordering::Relaxed) {
        // SAFETY: no pointers are passed; the handler is faulthandler's, which is made for this.
        unsafe { libc::raise(stack_signal()) };
    }
}
