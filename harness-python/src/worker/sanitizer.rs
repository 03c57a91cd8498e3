//! A sanitizer in this process, and Python's stack when it ends the process.
//!
//! A sanitizer writes its report, calls back, and ends the process, with a signal or an exit code. Its
//! own handlers of the fatal signals must come before anybody's who raises the signal again, or the
//! report names that handler and not the target. So faulthandler, which does raise again, listens to a
//! signal that nobody else uses, and the sanitizer's callback raises that one.

use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use hitmap_wire::identity;
use pyo3::prelude::*;

/// In every sanitizer's runtime (sanitizer/common_interface_defs.h).
const MARK: &CStr = c"__sanitizer_set_death_callback";

static IS_HEARD: AtomicBool = AtomicBool::new(false);

/// Whether a sanitizer's runtime is loaded for everybody to use.
#[pyfunction]
pub fn has_sanitizer() -> bool {
    // SAFETY: the name ends with a zero; the address is only compared.
    unsafe { !libc::dlsym(libc::RTLD_DEFAULT, MARK.as_ptr()).is_null() }
}

/// Addresses of [`death_callbacks`]: children inherit what the server found, and look at no library.
static FOUND: OnceLock<Vec<usize>> = OnceLock::new();

/// Looks for sanitizers among what is loaded by now.
pub fn look() {
    FOUND.get_or_init(|| death_callbacks().into_iter().map(|function| function as usize).collect());
}

/// The function under [`MARK`] in every runtime that is loaded: for everybody to use, or as part of what
/// an extension brought, which Python keeps to that extension.
fn death_callbacks() -> Vec<*mut c_void> {
    // SAFETY: the name ends with a zero.
    let mut found = vec![unsafe { libc::dlsym(libc::RTLD_DEFAULT, MARK.as_ptr()) }];
    for library in identity::all_loaded() {
        let name = library.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let is_runtime = [&b"libclang_rt."[..], b"libasan", b"libubsan"].iter().any(|start| name.starts_with(start));
        if let Ok(path) = CString::new(library.path.as_slice())
            && is_runtime
        {
            // SAFETY: both names end with a zero; nothing is loaded that is not there.
            unsafe {
                let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY);
                if !handle.is_null() {
                    found.push(libc::dlsym(handle, MARK.as_ptr()));
                }
            }
        }
    }
    found.retain(|function| !function.is_null());
    found
}

/// The signal by which faulthandler is asked for Python's stack: the last but one of the real-time
/// ones, which no library in wide use takes.
pub fn stack_signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// Has the sanitizers that are there call `on_report` when they have written a report; looks whether
/// faulthandler listens.
pub fn listen(on_report: extern "C" fn()) {
    look();
    for set in FOUND.get().into_iter().flatten() {
        // SAFETY: the function under this name has this type.
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(extern "C" fn())>(*set as *mut c_void)(on_report) };
    }
    // SAFETY: all zero is a value of the struct, and the pointer to it is writable.
    let handler = unsafe {
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
