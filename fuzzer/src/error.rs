//! What the command line says when it cannot do what was asked, and its exit codes.

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

    /// Wraps what the file system said of a path: a file that cannot be used is the user's to mend.
    pub fn file(what: &str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Failure {
        let text = format!("{what} {}", path.display());
        move |error| Failure::usage(format!("{text}: {error}"))
    }
}

/// What lifts a limit of the system that was met.
pub fn remedy(error: &std::io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE => Some("raise the limit of open files (ulimit -n)"),
        libc::ENOMEM => Some("lower --map-edges, or raise the limit of memory (ulimit -v)"),
        libc::EFBIG => Some("raise the limit of file sizes (ulimit -f)"),
        libc::EAGAIN => Some("raise the limit of processes (ulimit -u)"),
        _ => None,
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Failure {
        match error {
            WorkerError::Harness(_) | WorkerError::MapFull { .. } | WorkerError::OtherBuild(_) => {
                Failure::usage(error.to_string())
            }
            WorkerError::Broken(_) => Failure::internal(error.to_string()),
            WorkerError::System { what, source } => Failure::system(what)(source),
        }
    }
}
