//! Where inputs come from: the fuzzer's shared memory, a file that it names, or standard input.
//!
//! Owns what the harness must not reach: standard input is moved away, and `/dev/null` put there.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use hitmap_observers::disk;

use super::segment::Segment;

/// The longest input that is run, in bytes. AFL++ makes none longer than a megabyte.
const LONGEST: u64 = hitmap_wire::batch::DEFAULT_ARENA as u64;

/// The place of the next input.
pub enum Inputs {
    /// Length and bytes, in shared memory.
    Shared(Segment),
    /// A file that is there anew for every run: what `@@` on the fuzzer's command line became.
    File(PathBuf),
    /// What standard input was. A fuzzer has one file there, and writes it anew for every run.
    Stream(File),
}

impl Inputs {
    /// The file, if one is named, else standard input.
    ///
    /// # Errors
    /// What the system reports.
    pub fn of(file: Option<PathBuf>) -> io::Result<Inputs> {
        let stream = take_standard_input()?;
        Ok(file.map_or(Inputs::Stream(stream), Inputs::File))
    }

    /// Reads the input into `into`.
    ///
    /// # Errors
    /// What the system reports, with the name of the file.
    pub fn read(&self, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        match self {
            Inputs::Shared(segment) => segment.counted(into),
            Inputs::File(path) => {
                *into = disk::read(path, LONGEST)?;
            }
            Inputs::Stream(file) if file.metadata()?.is_file() => {
                // From its beginning, wherever the last run, or the fuzzer, left the offset.
                let len = file.metadata()?.len().min(LONGEST);
                into.resize(len as usize, 0);
                file.read_exact_at(into, 0)?;
            }
            Inputs::Stream(file) => {
                file.take(LONGEST).read_to_end(into)?;
            }
        }
        Ok(())
    }
}

fn take_standard_input() -> io::Result<File> {
    let null = File::open("/dev/null")?;
    // SAFETY: no pointers are passed. The copy is far from the numbers that a target may close in a
    // row, and closed when it starts another program.
    let copy = unsafe { libc::fcntl(libc::STDIN_FILENO, libc::F_DUPFD_CLOEXEC, 200) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this descriptor and nobody else owns it.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    // SAFETY: both descriptors are open; dup2 replaces the standard stream.
    if unsafe { libc::dup2(null.as_raw_fd(), libc::STDIN_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(File::from(copy))
}
