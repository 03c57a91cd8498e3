//! What an input may use, and how its use is read.

use std::time::Duration;

/// What one input may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wall time.
    pub timeout: Duration,
    /// Resident memory in MiB above what the child has when it is forked; 0 for no limit.
    pub memory_mb: u64,
    /// Inputs that one child runs before it is replaced.
    pub runs_per_child: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { timeout: Duration::from_millis(1000), memory_mb: 2048, runs_per_child: 1_000_000 }
    }
}

/// Resident memory of a process in KiB (second field of `/proc/PID/statm`, in pages); `None` when it
/// is gone.
pub fn resident_kib(pid: i32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1024) as u64;
    Some(pages * page / 1024)
}
