//! How heavy this process is, and whose weight it is: a library's or Python's.

use hitmap_wire::batch::Weight;
use pyo3::intern;
use pyo3::prelude::*;

/// Inputs before a child is weighed for the first time: by then its caches are warm.
pub const FIRST: u64 = 256;

/// What the process weighs after `runs` inputs.
///
/// Small Python objects come from Python's own allocator, which maps its arenas itself, so the C heap
/// is what libraries use, and Python objects of more than 512 bytes.
pub fn now(py: Python<'_>, runs: u64) -> Weight {
    let sys = py.import(intern!(py, "sys"));
    let blocks = sys.and_then(|sys| sys.call_method0(intern!(py, "getallocatedblocks"))?.extract());
    Weight { runs, resident_kib: resident_kib(), heap: heap(), blocks: blocks.unwrap_or(0) }
}

/// 0 when `/proc` cannot be read: the target may have used up all descriptors.
fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1024) as u64;
    pages * page / 1024
}

/// Bytes in use on the C heap. glibc has the call since 2.33, and a sanitizer's allocator or another
/// one says 0.
fn heap() -> u64 {
    // SAFETY: the name ends with a zero, and the function under it has this type (malloc.h).
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, c"mallinfo2".as_ptr());
        if found.is_null() {
            return 0;
        }
        let mallinfo2 = std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> libc::mallinfo2>(found);
        let told = mallinfo2();
        (told.uordblks + told.hblkhd) as u64
    }
}
