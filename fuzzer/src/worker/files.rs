//! The memory files and wake-ups that a worker shares with its engine.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use hitmap_wire::batch::{self, Batch};
use hitmap_wire::control::{self, Descriptors};
use hitmap_wire::mapping;
use hitmap_wire::region::{self, Region};

/// Bytes of standard error that are kept for a report.
const LOG_KEPT: usize = 64 << 10;
/// A log longer than this is emptied while the target runs on: it would fill the memory.
const LOG_LIMIT: usize = 8 << 20;

/// Everything shared with one server, and the engine's ends of it.
#[derive(Debug)]
pub struct Files {
    /// The map.
    pub region: Region,
    /// Inputs and verdicts.
    pub batch: Batch,
    /// Tells this region from any other.
    pub token: u64,
    region_fd: OwnedFd,
    batch_fd: OwnedFd,
    log: OwnedFd,
    /// Wakes the child.
    pub wake: OwnedFd,
    /// The child is through.
    pub done: OwnedFd,
}

impl Files {
    /// Makes them, for a map of `edges` edges.
    ///
    /// # Errors
    /// What the system reports.
    pub fn new(edges: u32) -> io::Result<Files> {
        let token = region::fresh_token();
        let (region_fd, region) = Region::create(edges, token, region::MODE_ENGINE)?;
        let (batch_fd, batch) = Batch::create(batch::DEFAULT_ARENA)?;
        let log = mapping::memory_file(c"hitmap-log", 0)?;
        Ok(Files { region, batch, token, region_fd, batch_fd, log, wake: control::event()?, done: control::event()? })
    }

    /// The numbers of the worker's descriptors; `history` and `control` come from elsewhere.
    pub fn descriptors(&self, history: i32, control: i32) -> Descriptors {
        Descriptors {
            region: self.region_fd.as_raw_fd(),
            history,
            batch: self.batch_fd.as_raw_fd(),
            log: self.log.as_raw_fd(),
            control,
            wake: self.wake.as_raw_fd(),
            done: self.done.as_raw_fd(),
        }
    }

    /// The log, as a server's standard error.
    ///
    /// # Errors
    /// What the system reports.
    pub fn log_writer(&self) -> io::Result<OwnedFd> {
        self.log.try_clone()
    }

    /// Empties the log.
    pub fn clear_log(&self) {
        // SAFETY: the descriptor is open; a log that cannot be cut only shows older text.
        unsafe { libc::ftruncate(self.log.as_raw_fd(), 0) };
    }

    /// Keeps a target that writes without end from filling the memory.
    pub fn bound_log(&self) {
        if self.log_len() > LOG_LIMIT {
            self.clear_log();
        }
    }

    fn log_len(&self) -> usize {
        mapping::file_len(std::os::fd::AsFd::as_fd(&self.log)).unwrap_or(0)
    }

    /// The end of what the worker wrote to standard error.
    pub fn log(&self) -> String {
        let len = self.log_len();
        let kept = len.min(LOG_KEPT);
        let mut bytes = vec![0u8; kept];
        let start = (len - kept) as libc::off_t;
        // SAFETY: the buffer has `kept` writable bytes.
        let got = unsafe { libc::pread(self.log.as_raw_fd(), bytes.as_mut_ptr().cast(), kept, start) };
        bytes.truncate(got.max(0) as usize);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Takes wake-ups that a dead child left, so that the next child does not see them.
    pub fn drain_events(&self) {
        for event in [&self.wake, &self.done] {
            let mut poll = libc::pollfd { fd: event.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid entry is passed; the read does not block after a successful poll.
            if unsafe { libc::poll(&mut poll, 1, 0) } == 1 {
                let _ = control::wait(std::os::fd::AsFd::as_fd(event));
            }
        }
    }
}
