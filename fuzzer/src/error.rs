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

    /// Wraps what the file system said of a path: a file that cannot be used is the user's to mend.
    pub fn file(what: &str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Failure {
        let text = format!("{what} {}", path.display());
        move |error| Failure::usage(format!("{text}: {error}"))
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Failure {
        let code = match error {
            WorkerError::Harness(_) | WorkerError::MapFull { .. } => exit::USAGE,
            WorkerError::Broken(_) | WorkerError::System { .. } => exit::INTERNAL,
        };
        Failure { code, message: error.to_string() }
    }
}
