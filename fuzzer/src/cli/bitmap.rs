//! llvm-covmap's bitmap from outside: the POSIX shared memory object that targets set bits in.
//!
//! Owns the object's name as long as it made it. Knows nothing of who sets the bits;
//! `runtime/src/covmap.rs` has the other side.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::error::Failure;

/// How large the bitmap is when nobody says otherwise, in bytes.
pub const DEFAULT_SIZE: u64 = 1 << 20;

/// Reads `--size`.
///
/// # Errors
/// Says what a size is.
pub fn size(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(size) if size > 0 && size.is_multiple_of(8) && i64::try_from(size).is_ok() => Ok(size),
        _ => Err(format!("not a number of bytes that is a multiple of 8, such as {DEFAULT_SIZE}")),
    }
}

/// How many bits are set, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Bits that are set.
    pub covered: u64,
    /// Bits that there are.
    pub total: u64,
}

impl Covered {
    /// The part that is set, from 0 to 1.
    pub fn ratio(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.covered as f64 / self.total as f64 }
    }
}

/// An open bitmap.
pub struct Bitmap {
    file: File,
    name: String,
    is_ours: bool,
}

impl Bitmap {
    /// Makes a new one, all zero, whose name is removed when it is dropped.
    ///
    /// # Errors
    /// With a message for the user; an object of this name among them.
    pub fn create(name: &str, size: u64) -> Result<Bitmap, Failure> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let file = shm_open(name, flags).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::usage(format!(
                "{name}: there is a shared memory object of this name; a program uses it or a crash left it: \
                 choose another --name, or remove it (under /dev/shm)"
            )),
            _ => refused(name, &error),
        })?;
        let bitmap = Bitmap { file, name: name.to_owned(), is_ours: true };
        // Reserved at once: a full /dev/shm is an error here, not a SIGBUS in the target.
        loop {
            // SAFETY: the descriptor is open.
            match unsafe { libc::posix_fallocate(bitmap.file.as_raw_fd(), 0, size as libc::off_t) } {
                0 => return Ok(bitmap),
                libc::EINTR => {}
                error => {
                    let error = io::Error::from_raw_os_error(error);
                    return Err(Failure::usage(format!("{name}: no room for {size} bytes: {error}; choose a --size")));
                }
            }
        }
    }

    /// Opens one that is there; `None` when there is none yet, or it has no size yet.
    ///
    /// # Errors
    /// With a message for the user; a size that is not `expected` among them.
    pub fn open(name: &str, expected: Option<u64>) -> Result<Option<Bitmap>, Failure> {
        let file = match shm_open(name, libc::O_RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(name, &error)),
        };
        let bitmap = Bitmap { file, name: name.to_owned(), is_ours: false };
        let size = bitmap.file.metadata().map_err(|error| refused(name, &error))?.len();
        match expected {
            _ if size == 0 => Ok(None),
            Some(expected) if expected != size => {
                Err(Failure::usage(format!("{name}: it has {size} bytes, not {expected}; leave --size out")))
            }
            _ => Ok(Some(bitmap)),
        }
    }

    /// Whether its name was removed; another object may have it by now.
    pub fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|about| about.nlink() == 0)
    }

    /// Counts the bits as they stand now.
    ///
    /// # Errors
    /// What reading reports.
    pub fn count(&self) -> Result<Covered, Failure> {
        let mut block = vec![0; 1 << 16];
        let mut so_far = Covered { covered: 0, total: 0 };
        loop {
            let at = so_far.total / 8;
            match self.file.read_at(&mut block, at) {
                Ok(0) => return Ok(so_far),
                Ok(read) => {
                    so_far.covered += block[..read].iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
                    so_far.total += read as u64 * 8;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(refused(&self.name, &error)),
            }
        }
    }
}

impl Drop for Bitmap {
    fn drop(&mut self) {
        // Somebody may have removed it meanwhile, and the name may be another's now.
        if self.is_ours
            && !self.is_removed()
            && let Ok(name) = CString::new(self.name.as_str())
        {
            // SAFETY: a C string.
            unsafe { libc::shm_unlink(name.as_ptr()) };
        }
    }
}

fn shm_open(name: &str, flags: libc::c_int) -> io::Result<File> {
    let name = CString::new(name)?;
    // SAFETY: a C string.
    let fd = unsafe { libc::shm_open(name.as_ptr(), flags | libc::O_CLOEXEC, 0o644 as libc::mode_t) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above made this descriptor and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn refused(name: &str, error: &io::Error) -> Failure {
    let remedy = match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENAMETOOLONG) | None => "name a shared memory object as in --name /mylib",
        _ => "such objects are files in /dev/shm",
    };
    Failure::usage(format!("{name}: {error}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(of: &str) -> String {
        format!("/hitmap-unit-{of}-{}", std::process::id())
    }

    #[test]
    fn a_size_is_a_multiple_of_eight() {
        assert_eq!(size("4096"), Ok(4096));
        assert!(["0", "12", "-8", "1M", "", "18446744073709551608"].iter().all(|text| size(text).is_err()));
    }

    #[test]
    fn bits_are_counted_by_whoever_opens_it() {
        let name = name("bits");
        assert!(Bitmap::open(&name, None).unwrap().is_none());
        let made = Bitmap::create(&name, 131_080).unwrap();
        let seen = Bitmap::open(&name, None).unwrap().expect("it is there");
        assert_eq!(seen.count().unwrap(), Covered { covered: 0, total: 131_080 * 8 });
        made.file.write_all_at(&[0b101], 0).unwrap();
        made.file.write_all_at(&[0xff], 131_079).unwrap();
        assert_eq!(seen.count().unwrap().covered, 10);
        assert!(Bitmap::open(&name, Some(8)).err().unwrap().message.contains("131080 bytes, not 8"));
        assert!(!seen.is_removed());
        drop(made);
        assert!(seen.is_removed());
        assert_eq!(seen.count().unwrap().covered, 10, "who has it open reads on");
        assert!(Bitmap::open(&name, None).unwrap().is_none());
    }

    #[test]
    fn one_that_is_there_is_not_taken() {
        let name = name("there");
        let made = Bitmap::create(&name, 8).unwrap();
        assert!(Bitmap::create(&name, 8).err().unwrap().message.contains("choose another --name"));
        assert!(!made.is_removed());
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for wrong in ["", "/a/b", "a\0b"] {
            assert!(Bitmap::open(wrong, None).is_err(), "{wrong:?}");
            assert!(Bitmap::create(wrong, 8).is_err(), "{wrong:?}");
        }
    }
}
