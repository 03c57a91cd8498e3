//! The C ABI of the runtime in this process, found by name.
//!
//! Loads a runtime only where the loader itself finds one; a second copy would hand every call to the
//! first. Knows nothing of maps beyond making one and joining it.

use std::ffi::{CStr, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use hitmap_wire::region::Region;

use super::MapError;

/// `HITMAP_ABI_VERSION` of the header that this file was written to.
pub(super) const ABI_VERSION: u32 = 1;

const SONAME: &CStr = c"libhitmap_rt.so";

type Create = unsafe extern "C" fn(u32, *mut u64) -> c_int;
type Attach = unsafe extern "C" fn(c_int, u64) -> c_int;

/// What is called again and again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runtime {
    gather: unsafe extern "C" fn(),
}

impl Runtime {
    /// Carries counters that share a page with other data into the map; cheap when there are none.
    pub(super) fn gather(&self) {
        // SAFETY: the function may be called at any time, and the runtime is never unloaded.
        unsafe { (self.gather)() }
    }
}

/// Makes a map, has this process count into it, and maps it once more for reading.
pub(super) fn share_map(edges: u32) -> Result<(Runtime, Region), MapError> {
    let handle = runtime().ok_or(MapError::NoRuntime)?;
    let find = |name: &CStr| {
        // SAFETY: the handle is open, or means everything that is loaded, and `name` is a C string.
        let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
        if symbol.is_null() { Err(MapError::NoRuntime) } else { Ok(symbol) }
    };
    // SAFETY: `hitmap.h` gives these names these types, and a function pointer has the size of a symbol.
    let (version, create, attach, gather) = unsafe {
        use std::mem::transmute;
        (
            transmute::<*mut c_void, unsafe extern "C" fn() -> u32>(find(c"hitmap_version")?),
            transmute::<*mut c_void, Create>(find(c"hitmap_create")?),
            transmute::<*mut c_void, Attach>(find(c"hitmap_attach")?),
            transmute::<*mut c_void, unsafe extern "C" fn()>(find(c"hitmap_gather")?),
        )
    };
    // SAFETY: takes nothing and reads a constant.
    match unsafe { version() } {
        ABI_VERSION => {}
        other => return Err(MapError::Abi(other)),
    }
    let mut token = 0;
    // SAFETY: the token is writable.
    let fd = match unsafe { create(edges, &mut token) } {
        code @ ..0 => return Err(MapError::Runtime { edges, code }),
        // SAFETY: the call made this descriptor for its caller.
        fd => unsafe { OwnedFd::from_raw_fd(fd) },
    };
    let region = Region::attach(fd.as_fd(), token)?;
    // SAFETY: the descriptor is open; that no other thread counts is our caller's word, and breaking it
    // loses counts and nothing else. The runtime maps the region and does not keep the descriptor.
    match unsafe { attach(fd.as_raw_fd(), token) } {
        0 => Ok((Runtime { gather }, region)),
        code => Err(MapError::Runtime { edges, code }),
    }
}

/// A handle in which the runtime's functions are found.
fn runtime() -> Option<*mut c_void> {
    // SAFETY: both names are C strings. The runtime's constructor runs when it is loaded; it is ours.
    unsafe {
        if !libc::dlsym(libc::RTLD_DEFAULT, c"hitmap_create".as_ptr()).is_null() {
            return Some(libc::RTLD_DEFAULT);
        }
        let handle = libc::dlopen(SONAME.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
        (!handle.is_null()).then_some(handle)
    }
}

/// Lets children keep a descriptor.
pub(super) fn inherit(fd: &OwnedFd) -> std::io::Result<()> {
    // SAFETY: the descriptor is open.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}
