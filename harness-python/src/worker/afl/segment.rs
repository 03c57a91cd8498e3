//! A System V shared memory segment that a fuzzer made: its map, or its inputs.
//!
//! Owns the attachment, for the life of the process. How long a segment is comes from the kernel,
//! not from `AFL_MAP_SIZE`: whatever the environment says, nothing is written past the end.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

/// An attached segment.
pub struct Segment {
    bytes: &'static [AtomicU8],
}

/// What is done with a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    Write,
}

impl Segment {
    /// Attaches the segment with the number `id`, which the environment variable `variable` named.
    ///
    /// # Errors
    /// One line that names the variable and what is wrong.
    pub fn attach(variable: &str, id: &str, access: Access) -> Result<Segment, String> {
        let id: i32 = id.parse().map_err(|_| {
            format!(
                "{variable}={id}: not the number of a System V segment, which is what AFL++ and LibAFL share on Linux"
            )
        })?;
        let failed = || format!("{variable}={id}: {}", io::Error::last_os_error());
        // SAFETY: all zero is a value of the struct.
        let mut about: libc::shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: the buffer is of the right type.
        if unsafe { libc::shmctl(id, libc::IPC_STAT, &mut about) } < 0 {
            return Err(failed());
        }
        let flags = if access == Access::Read { libc::SHM_RDONLY } else { 0 };
        // SAFETY: the kernel chooses the address.
        let base = unsafe { libc::shmat(id, std::ptr::null(), flags) };
        if base as isize == -1 {
            return Err(failed());
        }
        // SAFETY: the segment has that many bytes, and stays attached until the process ends. Others
        // write to it at any time, hence the atomics.
        let bytes = unsafe { std::slice::from_raw_parts(base.cast::<AtomicU8>(), about.shm_segsz) };
        Ok(Segment { bytes })
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes one byte, of a segment that was attached for writing; what lies past the end is dropped.
    #[inline]
    pub fn put(&self, at: usize, byte: u8) {
        if let Some(there) = self.bytes.get(at) {
            there.store(byte, Ordering::Relaxed);
        }
    }

    /// Copies what follows the length that the segment starts with; a length that lies is cut to what
    /// there is.
    pub fn counted(&self, into: &mut Vec<u8>) {
        into.clear();
        let Some((head, rest)) = self.bytes.split_at_checked(4) else { return };
        let mut len = [0; 4];
        for (to, from) in len.iter_mut().zip(head) {
            *to = from.load(Ordering::Acquire);
        }
        let len = (u32::from_ne_bytes(len) as usize).min(rest.len());
        into.reserve(len);
        // SAFETY: the source has `len` bytes, the target has room for them, and they do not overlap.
        // The fuzzer writes before it asks for a run and not again before it has the answer; if it
        // does, these are bytes all the same.
        unsafe {
            std::ptr::copy_nonoverlapping(rest.as_ptr().cast::<u8>(), into.as_mut_ptr(), len);
            into.set_len(len);
        }
    }
}
