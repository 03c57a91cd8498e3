//! How commands write: results to standard output, remarks to standard error.
//!
//! Knows nothing of what is said. `println!` and `eprintln!` panic when the disk behind them is full;
//! here a result that cannot be written is an error like any other, and a remark is dropped.
//!
//! What is printed may come from a target, or from a folder of somebody else's: nothing of it steers
//! the terminal ([`plain`]).

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, ErrorKind, Write};

use crate::error::Failure;

/// Writes `text` and a line's end to standard output. A reader that is gone has enough: no error.
///
/// # Errors
/// When it cannot be written.
pub fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", plain(&text.to_string())).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes `text` and a line's end to standard error, if that can be written. On a terminal, lines break
/// between words.
pub fn remark(text: impl Display) {
    let text = text.to_string();
    let _ = writeln!(io::stderr(), "{}", broken(&plain(&text), width()));
}

/// Columns of the terminal on standard error; `None` when there is none.
pub fn width() -> Option<usize> {
    let terminal = console::Term::stderr();
    terminal.features().is_attended().then(|| terminal.size_checked().map_or(80, |(_, columns)| columns.into()))
}

/// Text with lines of `width` columns at the most, broken between words. Lines that are indented, such as
/// those of a traceback, stay; so does a word that is too long, such as a path.
pub fn broken(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with(char::is_whitespace) || console::measure_text_width(line) <= width {
            lines.push(line.to_owned());
            continue;
        }
        let mut words = line.split(' ');
        let mut filled = words.next().unwrap_or_default().to_owned();
        for word in words {
            if console::measure_text_width(&filled) + 1 + console::measure_text_width(word) > width {
                lines.push(std::mem::replace(&mut filled, format!("  {word}")));
            } else {
                filled.push(' ');
                filled.push_str(word);
            }
        }
        lines.push(filled);
    }
    lines.join("\n")
}

/// Text without what steers a terminal: control characters but line ends and tabs, and those that turn the
/// direction of writing, come out as `\u001b`. That is how JSON spells them, so JSON stays JSON.
pub fn plain(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        let text = "hitmap: /a/very/long/path/to/a.py: no such file; name a Python file\n    indented lines stay as they are\nshort";
        let shown = "hitmap:\n  /a/very/long/path/to/a.py:\n  no such file; name a\n  Python file\n    indented lines stay as they are\nshort";
        assert_eq!(broken(text, Some(24)), shown);
        assert_eq!(broken(text, None), text);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        for (text, shown) in [
            ("two\nlines\tand a tab, é, 漢", "two\nlines\tand a tab, é, 漢"),
            ("\x1b[2J\x1b]0;title\x07", "\\u001b[2J\\u001b]0;title\\u0007"),
            ("over\rwritten\x08", "over\\u000dwritten\\u0008"),
            ("\u{9b}2J\x7f", "\\u009b2J\\u007f"),
            ("a\u{202e}txt.exe\u{2066}", "a\\u202etxt.exe\\u2066"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn json_stays_json(text: String) {
            let json = serde_json::json!({ "a": text });
            let back: serde_json::Value = serde_json::from_str(&plain(&json.to_string())).unwrap();
            assert_eq!(back, json);
        }
    }
}
