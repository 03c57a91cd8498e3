//! The witness, as the child sees it: whether this process was started with one, and what it is asked to
//! tell.

use std::ffi::c_void;
use std::sync::OnceLock;

use hitmap_wire::witness::{ARM, Arm, Hooks, Real, VERSION};
use pyo3::prelude::*;

static REAL: OnceLock<Real> = OnceLock::new();

fn arm() -> Option<Arm> {
    // SAFETY: the name ends with a zero, and the function under it has this type.
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, ARM.as_ptr());
        (!found.is_null()).then(|| std::mem::transmute::<*mut c_void, Arm>(found))
    }
}

/// Whether this process was started with a witness.
#[pyfunction]
pub fn has_witness() -> bool {
    arm().is_some()
}

/// Where its code lies.
pub fn code() -> Option<usize> {
    arm().map(|arm| arm as usize)
}

/// Has it call `hooks`; says whether there is one that speaks our version.
pub fn listen(hooks: &'static Hooks) -> bool {
    let Some(arm) = arm() else { return false };
    // SAFETY: hooks live as long as the process; null or a struct of that version comes back.
    let real = unsafe { arm(VERSION, hooks).as_ref() };
    real.is_some_and(|real| {
        let _ = REAL.set(*real);
        true
    })
}

/// Whether the witness tells us.
pub fn is_heard() -> bool {
    REAL.get().is_some()
}

/// The C library's own functions behind the witness; the names lead there without one.
pub fn real() -> Real {
    unsafe extern "C" fn nothing(_: *const std::ffi::c_char, _: *const c_void) -> *mut c_void {
        std::ptr::null_mut()
    }
    REAL.get().copied().unwrap_or(Real { action: libc::sigaction, mask: libc::pthread_sigmask, find: nothing })
}
