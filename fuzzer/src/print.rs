//! How commands write: results to standard output, remarks to standard error.
//!
//! Knows nothing of what is said. `println!` and `eprintln!` panic when the disk behind them is full;
//! here a result that cannot be written is an error like any other, and a remark is dropped.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::error::Failure;

/// Writes `text` and a line's end to standard output. A reader that is gone has enough: no error.
///
/// # Errors
/// When it cannot be written.
pub fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes `text` and a line's end to standard error, if that can be written.
pub fn remark(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
