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

/// Nanoseconds that a process ran on a processor, it and what it started and has reaped
/// (`/proc/PID/stat`, in ticks, all threads), and that it waited for one (`/proc/PID/schedstat`, its
/// main thread; 0 where the kernel does not tell); `None` when it is gone.
pub fn processor_nanos(pid: i32) -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, a parenthesis too.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    // SAFETY: asks for a constant of the system.
    let tick = 1_000_000_000 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    let schedule = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let queued = schedule.split(' ').nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
    Some((ticks.saturating_mul(tick), queued))
}

/// Whether a process has a handler for a signal (`SigCgt` of `/proc/PID/status`, a bit a signal from the lowest).
pub fn catches(pid: i32, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).contains(&signal) && caught >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_catches_what_it_asked_for() {
        let own = std::process::id() as i32;
        assert!(!super::catches(own, libc::SIGRTMAX()));
        // SAFETY: a handler of libc's own, for a signal that nobody sends.
        unsafe { libc::signal(libc::SIGRTMAX(), libc::abs as *const () as usize) };
        assert!(super::catches(own, libc::SIGRTMAX()));
        assert!(!super::catches(own, 0) && !super::catches(own, 65) && !super::catches(i32::MAX, 1));
    }

    #[test]
    fn this_process_weighs_something_and_has_run() {
        let own = std::process::id() as i32;
        assert!(super::resident_kib(own).unwrap() > 0);
        assert!(super::processor_nanos(own).is_some());
        assert_eq!(super::processor_nanos(i32::MAX), None);
    }
}
