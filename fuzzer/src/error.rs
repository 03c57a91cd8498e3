//! What the command line says when it cannot do what was asked, and its exit codes.

use crate::disk;
use crate::worker::WorkerError;

/// Exit codes of the command line.
pub mod exit {
    /// Nothing was found.
    pub const CLEAN: i32 = 0;
    /// There are findings.
    pub const FINDINGS: i32 = 1;
    /// Stopped by Ctrl-C or SIGTERM.
    pub const INTERRUPTED: i32 = 2;
    /// hitmap failed.
    pub const INTERNAL: i32 = 3;
    /// What was asked for cannot be done; the message says what to do.
    pub const USAGE: i32 = 4;
}

/// Why a command ends early: a message that names the thing and the remedy, and an exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// One of [`exit`]'s codes.
    pub code: i32,
    /// What went wrong and what to do.
    pub message: String,
}

impl Failure {
    /// The user can mend it.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { code: exit::USAGE, message: message.into() }
    }

    /// hitmap failed.
    pub fn internal(message: impl Into<String>) -> Failure {
        Failure { code: exit::INTERNAL, message: message.into() }
    }

    /// Wraps what the system said when it was asked for `what`: a limit of it is the user's to lift.
    pub fn system(what: &str) -> impl FnOnce(std::io::Error) -> Failure {
        move |error| match remedy(&error) {
            Some(remedy) => Failure::usage(format!("{what}: {error}; {remedy}")),
            None => Failure::internal(format!("{what}: {error}")),
        }
    }

    /// Wraps an error of [`crate::disk`], which names the file.
    pub fn disk(what: &str) -> impl Fn(std::io::Error) -> Failure {
        move |error| Failure::usage(format!("{what} {error}{}", what_helps(&error)))
    }

    /// Wraps what the file system said of a path: a file that cannot be used is the user's to mend.
    pub fn file(what: &str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Failure {
        let text = format!("{what} {}", path.display());
        move |error| Failure::usage(format!("{text}: {error}{}", what_helps(&error)))
    }
}

fn what_helps(error: &std::io::Error) -> String {
    disk::remedy(error).map(|remedy| format!("; {remedy}")).unwrap_or_default()
}

/// What lifts a limit of the system that was met.
pub fn remedy(error: &std::io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE => Some("raise the limit of open files (ulimit -n)"),
        libc::ENOMEM if is_memory_limited() => {
            Some("raise the limit of memory (ulimit -v), or ask for a smaller map (--map-edges)")
        }
        libc::ENOMEM => Some("free some memory, or ask for a smaller map (--map-edges)"),
        libc::EFBIG => Some("raise the limit of file sizes (ulimit -f)"),
        libc::EAGAIN if is_memory_limited() => Some("raise the limits of memory and processes (ulimit -v, ulimit -u)"),
        libc::EAGAIN => Some("raise the limit of processes (ulimit -u)"),
        _ => None,
    }
}

/// Whether this process, and what it starts, may take less memory than there is (`ulimit -v`).
fn is_memory_limited() -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"));
    limit.is_some_and(|limit| !limit.trim_start().starts_with("unlimited"))
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Failure {
        match error {
            WorkerError::Harness(_) | WorkerError::MapFull { .. } | WorkerError::OtherBuild(_) => {
                Failure::usage(error.to_string())
            }
            WorkerError::Broken(_) if is_memory_limited() => Failure::usage(format!(
                "{}; the limit of memory (ulimit -v) may be too low for it, so raise that",
                error.to_string().trim_end_matches([':', ' '])
            )),
            WorkerError::Broken(_) => Failure::internal(error.to_string()),
            WorkerError::System { what, source } => Failure::system(what)(source),
        }
    }
}
