//! The functions behind: those that the target meant.
//!
//! They are looked up when the witness is loaded, so that nothing is looked up in a signal handler. A call
//! that comes earlier, from another library's start, looks up for itself.

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// One function, by name.
pub struct Function {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Function {
    const fn new(name: &'static CStr) -> Function {
        Function { name, found: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Its address; null when the C library has none.
    #[inline]
    pub fn address(&self) -> *mut c_void {
        let found = self.found.load(Ordering::Relaxed);
        if found.is_null() { self.look() } else { found }
    }

    #[cold]
    fn look(&self) -> *mut c_void {
        // SAFETY: the name ends with a zero.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.found.store(found, Ordering::Relaxed);
        found
    }
}

pub static ACTION: Function = Function::new(c"sigaction");
pub static THREAD_MASK: Function = Function::new(c"pthread_sigmask");
pub static MASK: Function = Function::new(c"sigprocmask");
pub static SIGNAL: Function = Function::new(c"signal");
pub static SYSV_SIGNAL: Function = Function::new(c"sysv_signal");
pub static SET: Function = Function::new(c"sigset");
pub static EXIT: Function = Function::new(c"_exit");
pub static LEAVE: Function = Function::new(c"pthread_exit");
pub static CANCEL: Function = Function::new(c"pthread_cancel");
pub static CREATE: Function = Function::new(c"pthread_create");

extern "C" fn look_at_all() {
    for function in [&ACTION, &THREAD_MASK, &MASK, &SIGNAL, &SYSV_SIGNAL, &SET, &EXIT, &LEAVE, &CANCEL, &CREATE] {
        function.look();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look_at_all;

/// The C library's `sigaction`.
///
/// # Safety
/// That of `sigaction`.
pub unsafe extern "C" fn action(signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    type Call = unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;
    // SAFETY: the C library's function of this name has this type; the rest is the caller's word.
    unsafe { std::mem::transmute::<*mut c_void, Call>(ACTION.address())(signal, new, old) }
}

/// The C library's `pthread_sigmask`.
///
/// # Safety
/// That of `pthread_sigmask`.
pub unsafe extern "C" fn mask(how: c_int, new: *const libc::sigset_t, old: *mut libc::sigset_t) -> c_int {
    type Call = unsafe extern "C" fn(c_int, *const libc::sigset_t, *mut libc::sigset_t) -> c_int;
    // SAFETY: the C library's function of this name has this type; the rest is the caller's word.
    unsafe { std::mem::transmute::<*mut c_void, Call>(THREAD_MASK.address())(how, new, old) }
}
