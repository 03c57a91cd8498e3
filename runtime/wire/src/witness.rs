//! What the witness and the extension `hitmap._native` say to each other, within one process.
//!
//! The witness stands in front of a few functions of the C and C++ libraries, because the process was
//! started with it in `LD_PRELOAD`. It knows nothing: [`Hooks`] are the extension's, and without them it
//! hands on. Both come from one installation, but a process may be started with the witness of another,
//! so the version is looked at first.

use std::ffi::{CStr, c_char, c_int, c_void};

/// The version of [`Hooks`] and [`Real`].
pub const VERSION: u32 = 1;
/// The file's name.
pub const FILE: &str = "libhitmap_witness.so";
/// The symbol of an [`Arm`].
pub const ARM: &CStr = c"hitmap_witness_arm";

/// Takes the version that the caller speaks, and hooks that live as long as the process. Gives null when
/// it speaks another one. Null hooks disarm.
pub type Arm = unsafe extern "C" fn(version: u32, hooks: *const Hooks) -> *const Real;

/// What is called when the target calls one of the functions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Hooks {
    /// A thread that was just made, before its own function.
    pub thread: unsafe extern "C" fn(),
    /// In place of `sigaction`.
    pub action: unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int,
    /// In place of `pthread_sigmask`; gives an error number.
    pub mask: unsafe extern "C" fn(c_int, *const libc::sigset_t, *mut libc::sigset_t) -> c_int,
    /// Before `_exit`.
    pub exit: unsafe extern "C" fn(c_int),
    /// Before `pthread_exit`.
    pub leave: unsafe extern "C" fn(),
    /// Before `__cxa_throw`: the exception's object, its type, and the address that throws.
    pub throw: unsafe extern "C" fn(*mut c_void, *const c_void, *const c_void),
    /// The address throws for the first time.
    pub thrower: unsafe extern "C" fn(*const c_void),
    /// In place of `std::set_terminate`: the handler, the real function, which is null when there is none.
    pub set_terminate: unsafe extern "C" fn(*const c_void, *const c_void) -> *const c_void,
    /// In place of `std::get_terminate`: the real `std::set_terminate`. Null when it knows nothing of it.
    pub get_terminate: unsafe extern "C" fn(*const c_void) -> *const c_void,
}

/// The functions themselves.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Real {
    /// `sigaction`.
    pub action: unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int,
    /// `pthread_sigmask`.
    pub mask: unsafe extern "C" fn(c_int, *const libc::sigset_t, *mut libc::sigset_t) -> c_int,
    /// Finds a function of the C++ library as the code at an address would: by name, address.
    pub find: unsafe extern "C" fn(*const c_char, *const c_void) -> *mut c_void,
}
