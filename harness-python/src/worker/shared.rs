//! What the engine handed over: seven descriptors, opened, checked and closed to grandchildren.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use hitmap_wire::batch::Batch;
use hitmap_wire::control::{self, Descriptors, NamedMap};
use hitmap_wire::mapping::{self, Access, Mapping};
use hitmap_wire::region::Region;

/// Everything that server and child share with the engine.
pub struct Shared {
    /// Inputs and verdicts.
    pub batch: &'static Batch,
    /// Where standard error goes.
    pub log: OwnedFd,
    /// The control socket.
    pub control: OwnedFd,
    /// Wakes the child.
    pub wake: OwnedFd,
    /// Says that the child is through.
    pub done: OwnedFd,
}

/// What children read coverage by.
pub struct Maps {
    /// The map, in a mapping of our own: what the target does to the runtime's cannot unmap it.
    pub region: Region,
    /// One class byte for each of the region's edges; the engine writes it, we read.
    pub history: Mapping,
}

impl Shared {
    /// Opens what `--fds` and `HITMAP_MAP` name. Changes nothing but close-on-exec flags.
    ///
    /// # Errors
    /// One line that names what is wrong.
    pub fn open(fds: &str, map: Option<&str>) -> Result<(Shared, Maps), String> {
        let fds = Descriptors::from_argument(fds).ok_or("--fds wants seven descriptors, R,H,B,L,C,W,D")?;
        let all = fds.all();
        if (1..all.len()).any(|at| all[..at].contains(&all[at])) {
            return Err("--fds names a descriptor twice".into());
        }
        let token = match map.and_then(control::parse_map_variable) {
            Some(NamedMap::Descriptor(fd, token)) if fd == fds.region => token,
            _ => return Err("HITMAP_MAP does not name the map's descriptor".into()),
        };
        // All are looked at before the first is owned: a wrong number may belong to somebody else.
        for (fd, what) in all.iter().zip(["map", "history", "batch", "log", "control", "wake", "done"]) {
            close_on_exec(*fd).map_err(|e| format!("descriptor {fd} ({what}): {e}"))?;
        }
        let borrowed = |fd: RawFd| {
            // SAFETY: the loop above found it open, and nobody closes it while we look.
            unsafe { BorrowedFd::borrow_raw(fd) }
        };
        let batch = Batch::attach(borrowed(fds.batch)).map_err(|e| format!("batch file: {e}"))?;
        // Signal handlers write there, at any time.
        let batch = Box::leak(Box::new(batch));
        let region = Region::attach(borrowed(fds.region), token).map_err(|e| e.to_string())?;
        let history = open_history(borrowed(fds.history), region.layout().capacity as usize)
            .map_err(|e| format!("history file: {e}"))?;
        check_socket(borrowed(fds.control)).map_err(|e| format!("control socket: {e}"))?;
        let own = |fd: RawFd| {
            // SAFETY: it is open, the engine opened it for us, and no number is owned twice.
            unsafe { OwnedFd::from_raw_fd(fd) }
        };
        let shared =
            Shared { batch, log: own(fds.log), control: own(fds.control), wake: own(fds.wake), done: own(fds.done) };
        Ok((shared, Maps { region, history }))
    }

    /// Points the three standard streams away from the terminal: reads find nothing, output is
    /// dropped, errors are appended to the log.
    ///
    /// # Errors
    /// What the system reports.
    pub fn redirect_streams(&self) -> io::Result<()> {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        // The engine empties the log now and then: without O_APPEND the next line would leave a hole.
        // SAFETY: the descriptors are open; no pointers are passed.
        unsafe {
            let flags = libc::fcntl(self.log.as_raw_fd(), libc::F_GETFL);
            libc::fcntl(self.log.as_raw_fd(), libc::F_SETFL, flags | libc::O_APPEND);
        }
        for (from, to) in [(null.as_fd(), 0), (null.as_fd(), 1), (self.log.as_fd(), 2)] {
            // SAFETY: both descriptors are open or free; dup2 replaces the standard stream.
            if unsafe { libc::dup2(from.as_raw_fd(), to) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

fn open_history(fd: BorrowedFd<'_>, capacity: usize) -> io::Result<Mapping> {
    if mapping::file_len(fd)? < capacity {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "shorter than the map"));
    }
    Mapping::of_file(fd, capacity, Access::SharedReadOnly)
}

fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers are passed; a closed descriptor is reported.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn check_socket(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut kind: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the buffer is an int and `len` says so.
    let got =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &mut len) };
    match (got, kind) {
        (0, libc::SOCK_SEQPACKET) => Ok(()),
        (0, _) => Err(io::Error::new(io::ErrorKind::InvalidData, "not a SOCK_SEQPACKET socket")),
        _ => Err(io::Error::last_os_error()),
    }
}
