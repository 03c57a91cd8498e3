//! The end of the target's stack: code of the target is called through two frames that stop whoever
//! unwinds.
//!
//! Below the target lie handlers of hitmap's own: `catch_unwind`, and PyO3's around every function that
//! Python calls. An unwinder that finds one of them takes the target's stack away before it fails there.
//! In plain Python nobody catches, so `std::terminate` runs at the throw, with the stack as it is.
//! The outer frame has no unwind information, which is what unwinders take for the end of a stack.
//! The inner one has a personality routine, which hears of a forced unwind (`pthread_exit`, or a
//! cancelled thread) that is about to leave.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use hitmap_wire::identity;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::crash;

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod frames;

use frames::{hitmap_barrier, hitmap_barrier_end};

/// `_UA_FORCE_UNWIND` of the Itanium C++ ABI.
const FORCED: c_int = 8;
/// `_URC_CONTINUE_UNWIND`.
const CONTINUE: c_int = 8;

extern "C" fn personality(_: c_int, actions: c_int, _: u64, _: *mut c_void, _: *mut c_void) -> c_int {
    if actions & FORCED != 0 {
        crash::leaves_by_force();
    }
    CONTINUE
}

/// Whether a return address lies in the barrier.
pub fn is_barrier(address: u64) -> bool {
    (hitmap_barrier as *const () as u64..=hitmap_barrier_end as *const () as u64).contains(&address)
}

/// `PyObject_CallOneArg`, which is no part of the stable ABI and of every interpreter so far; null until it is
/// looked up, or where there is none.
static CALL_ONE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// What stands in for it.
const CALL_ANY: unsafe extern "C" fn(*mut ffi::PyObject, ...) -> *mut ffi::PyObject = ffi::PyObject_CallFunctionObjArgs;

/// Looks for what the interpreter calls quickest by.
pub fn prepare() {
    // SAFETY: the name ends with a zero.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"PyObject_CallOneArg".as_ptr()) };
    // A program that embeds another interpreter may have two.
    let home = |function: *const c_void| identity::holding(function as usize).map(|library| library.span);
    if !found.is_null() && home(found) == home(CALL_ANY as *const c_void) {
        CALL_ONE.store(found, Ordering::Relaxed);
    }
}

/// Calls with one argument; null when it raised.
///
/// # Safety
/// Attached to the interpreter, with two live objects.
#[inline]
pub unsafe fn call_one(callable: *mut ffi::PyObject, argument: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let found = CALL_ONE.load(Ordering::Relaxed);
    let call = if found.is_null() { CALL_ANY as *const c_void } else { found };
    let end = std::ptr::null_mut();
    // SAFETY: the caller's word; the arguments are those that both functions take, a null after the last.
    unsafe { hitmap_barrier(call, callable.cast(), argument.cast(), end, end) }.cast()
}

/// Gives up a reference: the object's destructor is code of the target.
///
/// # Safety
/// Attached to the interpreter, with a reference that is the caller's own.
#[inline]
pub unsafe fn release(object: *mut ffi::PyObject) {
    let none = std::ptr::null_mut();
    // SAFETY: the caller's word.
    unsafe { hitmap_barrier(ffi::Py_DecRef as *const c_void, object.cast(), none, none, none) };
}

/// `PyErr_Clear`: frames, and what they hold, go with an exception.
///
/// # Safety
/// Attached to the interpreter.
#[inline]
pub unsafe fn clear_error() {
    let none = std::ptr::null_mut();
    // SAFETY: the caller's word.
    unsafe { hitmap_barrier(ffi::PyErr_Clear as *const c_void, none, none, none, none) };
}

/// Calls `callable` with `arguments`.
///
/// # Errors
/// What it raises.
pub fn call<'py, A>(callable: &Bound<'py, PyAny>, arguments: A) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>,
{
    let py = callable.py();
    let arguments = arguments.into_pyobject(py).map_err(Into::into)?;
    let none = std::ptr::null_mut();
    // SAFETY: attached, as the token says; both are live objects, and the result is a new reference.
    unsafe {
        let call = ffi::PyObject_Call as *const c_void;
        let result = hitmap_barrier(call, callable.as_ptr().cast(), arguments.as_ptr().cast(), none, none);
        Bound::from_owned_ptr_or_err(py, result.cast())
    }
}

/// Calls a method of `object`.
///
/// # Errors
/// What it raises.
pub fn call_method<'py, A>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    arguments: A,
) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>,
{
    call(&object.getattr(name)?, arguments)
}
