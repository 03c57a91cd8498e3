//! The C ABI of `libhitmap_rt.so`, found in this process by name.
//!
//! Owns the handle, for the life of the process. Loads the runtime at most once: a second copy
//! would be a second, empty map, so the one that an extension brought along is taken when there is
//! one. Knows nothing of Python's views on coverage.

use std::ffi::{CStr, CString, c_int, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;

/// `HITMAP_ABI_VERSION` of the header this file was written to.
const ABI_VERSION: u32 = 1;
const SONAME: &CStr = c"libhitmap_rt.so";

/// `struct hitmap_module` of `hitmap.h`.
#[repr(C)]
#[derive(Clone)]
pub struct ModuleRecord {
    pub identity: [u8; 32],
    pub identity_len: u32,
    pub kind: u32,
    pub first: u64,
    pub edges: u32,
    pub refused: u32,
    pub hits: u32,
    pub reserved: u32,
    pub path: [u8; 1024],
}

const _: () = assert!(size_of::<ModuleRecord>() == 32 + 8 + 8 + 16 + 1024);

/// The functions of `hitmap.h` that this package calls.
#[derive(Clone, Copy)]
pub struct Runtime {
    version: unsafe extern "C" fn() -> u32,
    pub total: unsafe extern "C" fn() -> u64,
    pub hits: unsafe extern "C" fn() -> u64,
    pub reset: unsafe extern "C" fn(),
    pub push: unsafe extern "C" fn() -> c_int,
    pub pop: unsafe extern "C" fn() -> c_int,
    pub copy: unsafe extern "C" fn(*mut u8, usize) -> usize,
    pub restore: unsafe extern "C" fn(*const u8, usize) -> c_int,
    pub merge: unsafe extern "C" fn(*const u8, usize) -> c_int,
    pub modules: unsafe extern "C" fn(*mut ModuleRecord, usize) -> usize,
    pub gather: unsafe extern "C" fn(),
    pub attach: unsafe extern "C" fn(c_int, u64) -> c_int,
    pub twin: unsafe extern "C" fn(*mut u64) -> c_int,
    pub enter: unsafe extern "C" fn(c_int, u64) -> c_int,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime, when it was loaded.
pub fn present() -> Option<&'static Runtime> {
    RUNTIME.get()
}

/// The runtime, or an error that says how to get one.
pub fn needed() -> PyResult<&'static Runtime> {
    present().ok_or_else(|| {
        PyRuntimeError::new_err(
            "hitmap's runtime is not loaded, so there is no coverage to read: this installation has no \
             _rt/libhitmap_rt.so; reinstall its wheel",
        )
    })
}

/// Loads the runtime at `path` for everybody in this process, unless one is there already. Returns
/// whether this call brought it. Raises `OSError` when the loader refuses it, `RuntimeError` when it
/// speaks another ABI.
#[pyfunction]
pub fn load_runtime(path: PathBuf) -> PyResult<bool> {
    if present().is_some() {
        return Ok(false);
    }
    let there = open(SONAME, libc::RTLD_NOW | libc::RTLD_GLOBAL | libc::RTLD_NOLOAD);
    let (handle, brought) = match there {
        Ok(handle) => (handle, false),
        Err(_) => {
            let path = CString::new(path.into_os_string().into_encoded_bytes())?;
            (open(&path, libc::RTLD_NOW | libc::RTLD_GLOBAL).map_err(PyOSError::new_err)?, true)
        }
    };
    // SAFETY: the library is the one that bears the runtime's name, and stays loaded: its handle is
    // never closed.
    let runtime = unsafe { bind(handle) }.map_err(PyRuntimeError::new_err)?;
    // SAFETY: the function takes nothing and reads a constant.
    let version = unsafe { (runtime.version)() };
    if version != ABI_VERSION {
        return Err(PyRuntimeError::new_err(format!(
            "the hitmap runtime in this process speaks ABI {version}, this package speaks {ABI_VERSION}: \
             rebuild the extension that brought it with this hitmap"
        )));
    }
    let _ = RUNTIME.set(runtime);
    Ok(brought)
}

fn open(name: &CStr, flags: c_int) -> Result<*mut c_void, String> {
    // SAFETY: `name` is a C string. Constructors of the runtime run here; it is ours.
    let handle = unsafe { libc::dlopen(name.as_ptr(), flags) };
    if handle.is_null() { Err(loader_error()) } else { Ok(handle) }
}

fn loader_error() -> String {
    // SAFETY: dlerror gives null or a C string that is valid until the next call on this thread.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() { "no reason given".into() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    }
}

/// # Safety
/// `handle` must be that of a library whose functions have the types of `hitmap.h`.
unsafe fn bind(handle: *mut c_void) -> Result<Runtime, String> {
    let find = |name: &CStr| {
        // SAFETY: the handle is open and `name` is a C string.
        let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
        let text = || format!("the hitmap runtime in this process has no {}", name.to_string_lossy());
        if symbol.is_null() { Err(text()) } else { Ok(symbol) }
    };
    // SAFETY: the caller's word; a non-null symbol and a function pointer have the same size.
    unsafe {
        use std::mem::transmute;
        Ok(Runtime {
            version: transmute::<*mut c_void, unsafe extern "C" fn() -> u32>(find(c"hitmap_version")?),
            total: transmute::<*mut c_void, unsafe extern "C" fn() -> u64>(find(c"hitmap_total")?),
            hits: transmute::<*mut c_void, unsafe extern "C" fn() -> u64>(find(c"hitmap_hits")?),
            reset: transmute::<*mut c_void, unsafe extern "C" fn()>(find(c"hitmap_reset")?),
            push: transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(find(c"hitmap_push")?),
            pop: transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(find(c"hitmap_pop")?),
            copy: transmute::<*mut c_void, unsafe extern "C" fn(*mut u8, usize) -> usize>(find(c"hitmap_copy")?),
            restore: transmute::<*mut c_void, unsafe extern "C" fn(*const u8, usize) -> c_int>(find(
                c"hitmap_restore",
            )?),
            merge: transmute::<*mut c_void, unsafe extern "C" fn(*const u8, usize) -> c_int>(find(c"hitmap_merge")?),
            modules: transmute::<*mut c_void, unsafe extern "C" fn(*mut ModuleRecord, usize) -> usize>(find(
                c"hitmap_modules",
            )?),
            gather: transmute::<*mut c_void, unsafe extern "C" fn()>(find(c"hitmap_gather")?),
            attach: transmute::<*mut c_void, unsafe extern "C" fn(c_int, u64) -> c_int>(find(c"hitmap_attach")?),
            twin: transmute::<*mut c_void, unsafe extern "C" fn(*mut u64) -> c_int>(find(c"hitmap_twin")?),
            enter: transmute::<*mut c_void, unsafe extern "C" fn(c_int, u64) -> c_int>(find(c"hitmap_enter")?),
        })
    }
}
