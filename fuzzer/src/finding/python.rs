//! Python's half of a stack: what faulthandler wrote at a crash, and what the worker wrote of an
//! exception.

use serde::{Deserialize, Serialize};

/// One place on Python's stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonFrame {
    /// The source file.
    pub file: String,
    /// The line.
    pub line: u32,
    /// The function.
    pub function: String,
}

/// The frames of the first thread in a faulthandler dump, innermost first. Its lines read
/// `  File "a.py", line 3 in f` (CPython, `Python/traceback.c`, `dump_frame`).
pub fn of_faulthandler(log: &str) -> Vec<PythonFrame> {
    let current = log.find("Current thread").or_else(|| log.find("Stack (most recent call first)")).unwrap_or(0);
    log[current..]
        .lines()
        .skip(usize::from(current > 0))
        .skip_while(|line| !line.trim_start().starts_with("File \""))
        .map_while(|line| {
            let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
            let (number, function) = rest.split_once(" in ")?;
            Some(PythonFrame { file: file.into(), line: number.parse().unwrap_or(0), function: function.into() })
        })
        .collect()
}

/// What the worker reported of an exception.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    /// `TypeName: message`.
    pub title: String,
    /// Innermost first.
    pub frames: Vec<PythonFrame>,
    /// The whole traceback.
    pub traceback: String,
}

/// Reads the worker's report: title, blank line, `frame\tFILE\tLINE\tFUNCTION` lines, blank line,
/// traceback.
pub fn of_report(report: &str) -> Exception {
    let mut exception = Exception::default();
    let Some((title, rest)) = report.split_once("\n\n") else {
        exception.title = report.lines().next().unwrap_or_default().into();
        return exception;
    };
    exception.title = title.into();
    let mut rest = rest;
    while let Some((line, after)) = rest.split_once('\n') {
        let Some(fields) = line.strip_prefix("frame\t") else { break };
        let mut fields = fields.split('\t');
        exception.frames.push(PythonFrame {
            file: fields.next().unwrap_or_default().into(),
            line: fields.next().and_then(|n| n.parse().ok()).unwrap_or(0),
            function: fields.next().unwrap_or_default().into(),
        });
        rest = after;
    }
    exception.traceback = rest.trim_start_matches('\n').into();
    exception
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(file: &str, line: u32, function: &str) -> PythonFrame {
        PythonFrame { file: file.into(), line, function: function.into() }
    }

    #[test]
    fn faulthandler_frames_are_read() {
        let log = "noise\nFatal Python error: Aborted\n\nCurrent thread 0x00007f (most recent call first):\n  \
                   File \"/h.py\", line 7 in parse\n  File \"<frozen runpy>\", line 88 in _run_code\n\nExtension modules: x\n";
        assert_eq!(of_faulthandler(log), [frame("/h.py", 7, "parse"), frame("<frozen runpy>", 88, "_run_code")]);
        assert_eq!(of_faulthandler("nothing of the kind"), []);
    }

    #[test]
    fn reports_are_read() {
        let report =
            "KeyError: 'x'\n\nframe\t/h.py\t3\tf\nframe\t/h.py\t9\tg\n\nTraceback (most recent call last):\n  ...\n";
        let read = of_report(report);
        assert_eq!(read.title, "KeyError: 'x'");
        assert_eq!(read.frames, [frame("/h.py", 3, "f"), frame("/h.py", 9, "g")]);
        assert!(read.traceback.starts_with("Traceback"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            of_faulthandler(&text);
            of_report(&text);
        }
    }
}
