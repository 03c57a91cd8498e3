//! Memory files: making, sealing and mapping them.
//!
//! Owns a mapping's address and length, and unmaps it. Knows nothing of what lies in it.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// A mapped memory file, or anonymous memory; unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is an address range. Whoever reads or writes through it says how races are met.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// How a memory file is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads and writes are seen by every process that maps the file.
    Shared,
    /// Only reads; for files that another process owns.
    SharedReadOnly,
}

/// Makes an anonymous memory file of `len` bytes, all zero, closed on exec. Pages cost nothing until
/// they are touched.
///
/// # Errors
/// What `memfd_create(2)` or `ftruncate(2)` reports.
pub fn memory_file(name: &CStr, len: usize) -> io::Result<OwnedFd> {
    // SAFETY: `name` is a C string; the flags are constants.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above made this descriptor and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: `fd` is open.
    if unsafe { libc::ftruncate(fd.as_raw_fd(), len as libc::off_t) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

/// Forbids every further writable mapping, and any change of size. A mapping made before the seal
/// keeps writing: so the maker stays the only writer (`F_SEAL_FUTURE_WRITE`, Linux 5.1).
///
/// # Errors
/// What `fcntl(2)` reports.
pub fn seal_for_readers(fd: BorrowedFd<'_>) -> io::Result<()> {
    const F_SEAL_FUTURE_WRITE: libc::c_int = 0x10;
    add_seals(fd, F_SEAL_FUTURE_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW)
}

/// Forbids every change of length: else a process that has the descriptor could cut the file, and
/// whoever reads it next would die of SIGBUS.
///
/// # Errors
/// What `fcntl(2)` reports.
pub fn seal_length(fd: BorrowedFd<'_>) -> io::Result<()> {
    add_seals(fd, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW)
}

fn add_seals(fd: BorrowedFd<'_>, seals: libc::c_int) -> io::Result<()> {
    // SAFETY: `fd` is open.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The size of the file behind `fd`, in bytes.
///
/// # Errors
/// What `fstat(2)` reports; a closed descriptor among it.
pub fn file_len(fd: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: `stat` is plain data, and all zero is a value of it.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is a writable buffer of the right type.
    if unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.st_size.max(0) as usize)
}

impl Mapping {
    /// Maps `len` bytes of `fd` from its start.
    ///
    /// # Errors
    /// What `mmap(2)` reports.
    pub fn of_file(fd: BorrowedFd<'_>, len: usize, access: Access) -> io::Result<Mapping> {
        let prot = match access {
            Access::Shared => libc::PROT_READ | libc::PROT_WRITE,
            Access::SharedReadOnly => libc::PROT_READ,
        };
        Self::map(len, prot, libc::MAP_SHARED, fd.as_raw_fd())
    }

    /// Private memory of `len` bytes, all zero; a forked child gets a copy-on-write copy.
    ///
    /// # Errors
    /// What `mmap(2)` reports.
    pub fn anonymous(len: usize) -> io::Result<Mapping> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        Self::map(len, libc::PROT_READ | libc::PROT_WRITE, flags, -1)
    }

    fn map(len: usize, prot: libc::c_int, flags: libc::c_int, fd: libc::c_int) -> io::Result<Mapping> {
        // SAFETY: a null hint lets the kernel choose a free range, so no existing mapping is touched.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap returned null"))?;
        Ok(Mapping { base, len })
    }

    /// Puts the pages of `other`, a shared mapping that is no shorter, where this mapping lies. An old
    /// size of 0 makes a second mapping of shared pages, so that no descriptor is needed.
    ///
    /// # Errors
    /// What `mremap(2)` reports; then nothing has changed.
    pub fn replace_by(&self, other: &Mapping) -> io::Result<()> {
        debug_assert!(other.len >= self.len);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: both ranges are mappings of ours, whose contents nobody refers to but by address.
        let got = unsafe { libc::mremap(other.base().cast(), 0, self.len, flags, self.base().cast::<libc::c_void>()) };
        if got == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The first byte.
    #[inline]
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a mapping has at least one byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives the memory up without unmapping it: for a map that lives as long as the process.
    pub fn leak(self) -> *mut u8 {
        let base = self.base();
        std::mem::forget(self);
        base
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are those that mmap gave, and the mapping is ours alone.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
