//! `__cxa_throw`, and the terminate handler.
//!
//! Extensions bring the C++ library along for themselves (`RTLD_LOCAL`), and there may be several in a
//! process. So the function behind is the one that the calling code would have found: among what is there
//! for everybody, then in the library that the caller lies in and in those that this one needs.

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod entries;

use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::hooks;

const THROW: &CStr = c"__cxa_throw";
const SET: &CStr = c"_ZSt13set_terminatePFvvE";
const GET: &CStr = c"_ZSt13get_terminatev";

/// Throwing addresses, each with the function behind. A library that throws in its ordinary work is
/// looked up once.
const CALLERS: usize = 1024;
/// Entries that are looked at for one address.
const PROBES: usize = 8;

struct Caller {
    address: AtomicUsize,
    behind: AtomicUsize,
}

static KNOWN: [Caller; CALLERS] =
    [const { Caller { address: AtomicUsize::new(0), behind: AtomicUsize::new(0) } }; CALLERS];

fn entries(caller: usize) -> impl Iterator<Item = &'static Caller> {
    let start = caller.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
    (0..PROBES).map(move |at| &KNOWN[(start + at) % CALLERS])
}

/// Tells of the throw, and gives the function that goes on with it.
extern "C" fn throws(object: *mut c_void, kind: *const c_void, caller: *const c_void) -> *const c_void {
    let known = entries(caller as usize).find(|entry| entry.address.load(Ordering::Acquire) == caller as usize);
    let behind = match known.map_or(0, |entry| entry.behind.load(Ordering::Acquire)) {
        0 => first_throw(caller),
        behind => behind as *const c_void,
    };
    if let Some(hooks) = hooks() {
        // SAFETY: hooks are functions of their types.
        unsafe { (hooks.throw)(object, kind, caller) };
    }
    behind
}

#[cold]
fn first_throw(caller: *const c_void) -> *const c_void {
    // SAFETY: the name ends with a zero.
    let behind = unsafe { find(THROW.as_ptr(), caller) };
    if behind.is_null() {
        // The caller found a function of this name here, so there was one; without it nothing can go on.
        // SAFETY: ends the process.
        unsafe { libc::abort() };
    }
    if let Some(hooks) = hooks() {
        // SAFETY: hooks are functions of their types.
        unsafe { (hooks.thrower)(caller) };
    }
    let free = |entry: &&Caller| {
        entry.address.compare_exchange(0, caller as usize, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    if let Some(entry) = entries(caller as usize).find(free) {
        entry.behind.store(behind as usize, Ordering::Release);
    }
    behind
}

extern "C" fn set_terminate(handler: *const c_void, caller: *const c_void) -> *const c_void {
    // SAFETY: names end with a zero; the function under this name has this type; hooks are functions of
    // their types.
    unsafe {
        let behind = find(SET.as_ptr(), caller);
        match hooks() {
            Some(hooks) => (hooks.set_terminate)(handler, behind),
            None if behind.is_null() => std::ptr::null(),
            None => {
                type Call = unsafe extern "C" fn(*const c_void) -> *const c_void;
                std::mem::transmute::<*mut c_void, Call>(behind)(handler)
            }
        }
    }
}

extern "C" fn get_terminate(caller: *const c_void) -> *const c_void {
    // SAFETY: as above.
    unsafe {
        let behind = find(GET.as_ptr(), caller);
        // The library asks itself, and must hear what is really set.
        let is_own = !behind.is_null() && base(caller) == base(behind);
        let hooks = hooks().filter(|_| !is_own);
        let known = hooks.map_or(std::ptr::null(), |hooks| (hooks.get_terminate)(find(SET.as_ptr(), caller)));
        if !known.is_null() || behind.is_null() {
            return known;
        }
        std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *const c_void>(behind)()
    }
}

/// Where the library that holds this address begins.
fn base(address: *const c_void) -> *mut c_void {
    // SAFETY: the struct is written before it is read.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        libc::dladdr(address, &mut info);
        info.dli_fbase
    }
}

/// Finds a function as the code at `caller` would.
///
/// # Safety
/// `name` must be a C string.
pub unsafe extern "C" fn find(name: *const c_char, caller: *const c_void) -> *mut c_void {
    // SAFETY: the caller's word; the struct is written before it is read.
    unsafe {
        let found = libc::dlsym(libc::RTLD_NEXT, name);
        if !found.is_null() {
            return found;
        }
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(caller, &mut info) == 0 || info.dli_fname.is_null() {
            return std::ptr::null_mut();
        }
        let handle = libc::dlopen(info.dli_fname, libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if handle.is_null() {
            return std::ptr::null_mut();
        }
        // The handle stays open: the library must not go while a throw of its own is under way.
        libc::dlsym(handle, name)
    }
}
