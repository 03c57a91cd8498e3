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
    /// Where it was raised, innermost first.
    pub frames: Vec<PythonFrame>,
    /// The exceptions that it was raised from, the root last.
    pub causes: Vec<Cause>,
    /// The whole traceback.
    pub traceback: String,
}

/// An exception that another one was raised from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// `TypeName: message`.
    pub title: String,
    /// Where it was raised, innermost first.
    pub frames: Vec<PythonFrame>,
}

impl Exception {
    /// Title and frames of what was raised first: the root of its explicit causes, or the exception itself. A cause that
    /// was made and never raised has no frames: then those of whoever named it as a cause count.
    pub fn root(&self) -> (&str, &[PythonFrame]) {
        let title = self.causes.last().map_or(self.title.as_str(), |cause| &cause.title);
        let frames = self.causes.iter().rev().map(|cause| &cause.frames).find(|frames| !frames.is_empty());
        (title, frames.unwrap_or(&self.frames))
    }
}

/// The type's name in a title.
pub fn type_of(title: &str) -> &str {
    title.split(':').next().unwrap_or(title)
}

/// Reads the worker's report: title, blank line, a line `frame\tFILE\tLINE\tFUNCTION` for each frame, then for each
/// cause a line `cause\tTITLE` and its frames, blank line, traceback.
pub fn of_report(report: &str) -> Exception {
    let mut exception = Exception::default();
    let Some((title, mut rest)) = report.split_once("\n\n") else {
        exception.title = report.lines().next().unwrap_or_default().into();
        return exception;
    };
    exception.title = title.into();
    while let Some((line, after)) = rest.split_once('\n') {
        if let Some(title) = line.strip_prefix("cause\t") {
            exception.causes.push(Cause { title: title.into(), frames: Vec::new() });
        } else if let Some((frame, _)) = frame(line) {
            exception.causes.last_mut().map_or(&mut exception.frames, |cause| &mut cause.frames).push(frame);
        } else {
            break;
        }
        rest = after;
    }
    exception.traceback = rest.trim_start_matches('\n').into();
    exception
}

/// Reads the Python stack of a sample: like the frames of a report, each with an ID behind it.
pub fn of_sample(text: &str) -> Vec<(PythonFrame, String)> {
    text.lines().map_while(|line| frame(line).map(|(frame, id)| (frame, id.to_string()))).collect()
}

/// A `frame` line, and what stands behind the function.
fn frame(line: &str) -> Option<(PythonFrame, &str)> {
    let mut fields = line.strip_prefix("frame\t")?.split('\t');
    let frame = PythonFrame {
        file: fields.next().unwrap_or_default().into(),
        line: fields.next().and_then(|n| n.parse().ok()).unwrap_or(0),
        function: fields.next().unwrap_or_default().into(),
    };
    Some((frame, fields.next().unwrap_or_default()))
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
        assert_eq!(read.root().0, "KeyError: 'x'");
    }

    #[test]
    fn causes_are_read_and_the_root_is_the_last() {
        let report =
            "SystemError: s\n\nframe\t/h.py\t3\tf\ncause\tE: e\ncause\tMemoryError\nframe\t/l.py\t1\tg\n\nTraceback\n";
        let read = of_report(report);
        assert_eq!((read.frames.len(), read.causes.len()), (1, 2));
        assert_eq!(read.root(), ("MemoryError", &[frame("/l.py", 1, "g")][..]));
        let unraised = of_report("E: e\n\nframe\t/h.py\t3\tf\ncause\tKeyError: 1\n\nTraceback\n");
        assert_eq!(unraised.root(), ("KeyError: 1", &[frame("/h.py", 3, "f")][..]));
        assert_eq!(type_of("a.B: c: d"), "a.B");
        assert!(read.traceback.starts_with("Traceback"));
    }

    #[test]
    fn samples_are_read() {
        assert_eq!(of_sample("frame\t/h.py\t3\tf\t77\nx"), [(frame("/h.py", 3, "f"), "77".to_string())]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            of_faulthandler(&text);
            of_report(&text);
            of_sample(&text);
        }
    }
}
