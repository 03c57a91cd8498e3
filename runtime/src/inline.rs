//! Inline counters and flags: moving them onto the region, and reading them where they are.
//!
//! In a shared region a library's pages of counters are replaced by the region's own pages, so that
//! instrumented code counts into shared memory without knowing. In a private region they stay where
//! they are: the library's own writable memory is already what is wanted, private after fork, and
//! the process reads it there. Counters that share a page with other data are never moved: after a
//! fork their neighbours would be shared with the parent.

use hitmap_wire::PAGE;

/// Replaces the pages at `section` by those at `plane`, which must be part of a shared mapping;
/// from then on both addresses are the same memory. What stood in `section` is gone. False when the
/// system refuses; then nothing has changed.
///
/// Both may begin within a page, at the same place of it: flags do. What precedes them in the
/// plane's page belongs to the module before, and comes along.
///
/// `mremap(2)` with an old size of 0 makes a second mapping of shared pages, so no file descriptor
/// has to be kept open in a process that may close what it likes.
///
/// # Safety
/// Both addresses must have the same place in a page; the pages that `len` covers at `section` must
/// hold nothing but counters, and those at `plane` must be a module's range of a shared region.
pub unsafe fn map_over(section: *mut u8, plane: *mut u8, len: usize) -> bool {
    let within = section as usize % PAGE;
    debug_assert!(plane as usize % PAGE == within);
    let (section, plane) = (section.wrapping_sub(within), plane.wrapping_sub(within));
    let len = (within + len).next_multiple_of(PAGE);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the caller's word: only counters are replaced.
    let got = unsafe { libc::mremap(plane.cast(), 0, len, flags, section.cast::<libc::c_void>()) };
    got == section.cast()
}

/// Calls `hit(i, value)` for every byte that is not 0; clears it when `clear` says so.
///
/// # Safety
/// `bytes` must be readable, and writable if `clear`, for `len` bytes. Other threads may count into
/// them meanwhile: a count that races with the clear is seen now, later, or lost.
pub unsafe fn each_touched(bytes: *mut u8, len: usize, clear: bool, mut hit: impl FnMut(usize, u8)) {
    let mut i = 0;
    while i < len {
        // SAFETY: `i` is below `len`, and the word is read only when all of it is.
        unsafe {
            if i + 8 <= len && bytes.add(i).cast::<u64>().read_unaligned() == 0 {
                i += 8;
                continue;
            }
            for at in i..(i + 8).min(len) {
                let value = bytes.add(at).read_volatile();
                if value != 0 {
                    if clear {
                        bytes.add(at).write_volatile(0);
                    }
                    hit(at, value);
                }
            }
        }
        i += 8;
    }
}
