//! One line to file descriptor 2, for what the person running the target must know.

use std::fmt::Write;

/// Writes `hitmap: TEXT` as one line, in one system call so that lines of several threads and
/// processes do not mix. Failures are ignored: a target without standard error is the target's
/// choice.
pub fn line(text: std::fmt::Arguments<'_>) {
    let mut whole = String::from("hitmap: ");
    let _ = whole.write_fmt(text);
    whole.push('\n');
    // SAFETY: the buffer is readable for its length.
    unsafe { libc::write(2, whole.as_ptr().cast(), whole.len()) };
}
