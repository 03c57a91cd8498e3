//! Four bytes at a time: AFL's fork-server protocol, in its two versions.
//!
//! Owns the two pipes. [`super`] tells the story; the numbers are those of AFL++'s `include/types.h`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What the fuzzer writes to; the next descriptor is what it reads from.
const CONTROL: RawFd = 198;
const STATUS: RawFd = CONTROL + 1;

const OLD_ENABLED: u32 = 0x8000_0001;
const OLD_MAP_SIZE: u32 = 0x4000_0000;
const OLD_SHARED_INPUT: u32 = 0x0100_0000;
/// The largest map that the old protocol can tell of.
const OLD_LARGEST: usize = 1 << 23;

const VERSION_ONE: u32 = 0x4146_4c01;
const MAP_SIZE: u32 = 1;
const SHARED_INPUT: u32 = 2;

/// Which way to greet. A fuzzer's wish cannot be seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// What AFL++ spoke up to 4.10c, and understands since.
    Old,
    /// What AFL++ speaks since 4.20c.
    One,
}

/// Both pipes to the fuzzer. Dropping them leaves them open until the process ends: a fuzzer that sees
/// them closed may kill it before it has said what is wrong.
pub struct Pipes {
    control: ManuallyDrop<File>,
    status: ManuallyDrop<File>,
}

impl Pipes {
    /// The pipes, when a fuzzer handed some over. Closes them to programs that the target starts.
    pub fn inherited() -> Option<Pipes> {
        for fd in [CONTROL, STATUS] {
            // SAFETY: no pointers are passed; a closed descriptor is reported.
            if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
                return None;
            }
        }
        // SAFETY: both are open, and the fuzzer opened them for whoever speaks its protocol.
        let own = |fd| ManuallyDrop::new(File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
        Some(Pipes { control: own(CONTROL), status: own(STATUS) })
    }

    /// Closes them, as a child does.
    pub fn close(self) {
        drop(ManuallyDrop::into_inner(self.control));
        drop(ManuallyDrop::into_inner(self.status));
    }

    /// Greets the fuzzer: how large the map is, and whether inputs may come in shared memory. Gives
    /// whether they do, and the first request if it was read already.
    ///
    /// # Errors
    /// What the pipes report, or that the fuzzer does not speak this version.
    pub fn greet(&mut self, version: Version, size: usize, shared_input: bool) -> io::Result<Greeted> {
        match version {
            Version::Old => self.greet_old(size, shared_input),
            Version::One => self.greet_one(size, shared_input),
        }
    }

    fn greet_old(&mut self, size: usize, shared_input: bool) -> io::Result<Greeted> {
        self.tell(old_hello(size, shared_input))?;
        if !shared_input {
            return Ok(Greeted { shared_input, first: None });
        }
        // The fuzzer answers only what it takes up; else these are the first request's bytes.
        let answer = self.must_ask()?;
        let wanted = OLD_ENABLED | OLD_SHARED_INPUT;
        let shared_input = answer & wanted == wanted;
        Ok(Greeted { shared_input, first: (!shared_input).then_some(answer) })
    }

    fn greet_one(&mut self, size: usize, shared_input: bool) -> io::Result<Greeted> {
        self.tell(VERSION_ONE)?;
        if self.must_ask()? != !VERSION_ONE {
            return Err(io::Error::other("the fuzzer speaks AFL's old fork-server protocol: set AFL_OLD_FORKSERVER=1"));
        }
        self.tell(MAP_SIZE | if shared_input { SHARED_INPUT } else { 0 })?;
        self.tell(u32::try_from(size).unwrap_or(u32::MAX))?;
        self.tell(VERSION_ONE)?;
        Ok(Greeted { shared_input, first: None })
    }

    /// The next four bytes; `None` when the fuzzer is gone.
    ///
    /// # Errors
    /// What `read(2)` reports.
    pub fn ask(&mut self) -> io::Result<Option<u32>> {
        let mut word = [0; 4];
        match self.control.read_exact(&mut word) {
            Ok(()) => Ok(Some(u32::from_ne_bytes(word))),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn must_ask(&mut self) -> io::Result<u32> {
        self.ask()?.ok_or_else(|| io::Error::other("the fuzzer ended before it answered the hello"))
    }

    /// Writes four bytes.
    ///
    /// # Errors
    /// What `write(2)` reports.
    pub fn tell(&mut self, word: u32) -> io::Result<()> {
        self.status.write_all(&word.to_ne_bytes())
    }

    /// A descriptor that hangs up when the fuzzer is gone.
    pub fn fuzzer(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

/// What came of a hello.
pub struct Greeted {
    /// Whether inputs come in shared memory.
    pub shared_input: bool,
    /// A request that was read already.
    pub first: Option<u32>,
}

/// The old hello: flags, and the map's size in the bits between them. A size that does not fit there
/// is left out, and the fuzzer believes its own `AFL_MAP_SIZE`.
fn old_hello(size: usize, shared_input: bool) -> u32 {
    let mut hello = OLD_ENABLED;
    if (2..=OLD_LARGEST).contains(&size) {
        hello |= OLD_MAP_SIZE | ((size as u32 - 1) << 1);
    }
    if shared_input {
        hello |= OLD_SHARED_INPUT;
    }
    hello
}
