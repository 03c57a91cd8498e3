//! One forked child, as its parent sees it: killed, waited for, reaped.
//!
//! Owns the child's process id until it is reaped, and with it the right to signal it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// A child that is not yet reaped.
pub struct Forked {
    /// Its process id.
    pub pid: i32,
    process: OwnedFd,
}

/// How a child ended.
pub struct Over {
    /// The wait status.
    pub status: i32,
    /// Its largest resident size, in KiB.
    pub peak_kib: u64,
}

impl Forked {
    /// Takes charge of a child that was just forked.
    ///
    /// # Errors
    /// What `pidfd_open(2)` reports.
    pub fn new(pid: i32) -> io::Result<Forked> {
        // SAFETY: no pointers are passed; the child is ours and not yet reaped, so its id is its own.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call made this descriptor (close-on-exec) and nobody else owns it.
        Ok(Forked { pid, process: unsafe { OwnedFd::from_raw_fd(fd as i32) } })
    }

    /// A descriptor that is readable when the child has ended.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Sends a signal.
    pub fn kill(&self, signal: i32) {
        // SAFETY: the child is not yet reaped, so the id is its own. That it is dying already, or
        // that there is no such signal, is no error here.
        unsafe { libc::kill(self.pid, signal) };
    }

    /// Waits for the end.
    ///
    /// The child leads a group, and as long as it is not reaped the group's number is its own: so what
    /// the target forked, and what it started, ends with it.
    ///
    /// # Errors
    /// What `wait4(2)` reports.
    pub fn reap(self) -> io::Result<Over> {
        // SAFETY: no pointers are passed.
        unsafe { libc::kill(-self.pid, libc::SIGKILL) };
        let mut status = 0;
        // SAFETY: all zero is a value of the struct.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both buffers are of the right type.
        while unsafe { libc::wait4(self.pid, &mut status, 0, &mut usage) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(Over { status, peak_kib: usage.ru_maxrss.max(0) as u64 })
    }
}
