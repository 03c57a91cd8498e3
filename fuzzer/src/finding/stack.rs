//! Stacks as people read them: names without arguments, glue folded, Python's lines beside the native ones.

use std::fmt::Write;

use super::function::qualified;
use super::identity::base;
use super::owner::{Owner, is_plumbing, is_users_python};
use super::python::PythonFrame;
use super::symbolize::Frame;

/// A native stack, a line a frame, innermost first. Frames that say nothing of the library are folded: a run of
/// them is one line. So is a recursion. Where the interpreter begins stands the line of Python that called the library,
/// the first one of `python` that is the user's.
pub fn native(frames: &[Frame], python: &[PythonFrame]) -> String {
    let mut caller = python.iter().find(|frame| is_users_python(&frame.file));
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(frame) = frames.get(at) {
        let run = frames[at..].iter().take_while(|next| next.owner == frame.owner).count();
        if is_folded(frame.owner) && (at > 0 || run > 1) {
            let plural = if run == 1 { "" } else { "s" };
            let whose = if frame.owner == Owner::Binding { binding(frame) } else { frame.owner.name() };
            let from = caller.take_if(|_| frame.owner == Owner::Interpreter).map(|caller| {
                let file = base(&caller.file);
                format!(", for {file}:{} in {}", caller.line, caller.function)
            });
            lines.push((None, format!("… {run} frame{plural} of {whose}{}", from.unwrap_or_default())));
            at += run;
        } else {
            lines.push((Some(at), line(frame)));
            at += 1;
        }
    }
    let mut text = String::new();
    let mut at = 0;
    while at < lines.len() {
        let (period, times) = repeats(&lines[at..]);
        for (number, line) in &lines[at..at + period] {
            let _ = match number {
                Some(number) => writeln!(text, "  #{number} {line}"),
                None => writeln!(text, "  {line}"),
            };
        }
        if times > 0 {
            let what = if period == 1 { "frame".to_string() } else { format!("{period} frames") };
            let _ = writeln!(text, "  … the {what} above {times} times more");
        }
        at += period * (times + 1);
    }
    text
}

/// How many lines the beginning repeats, and how often; one line and no repetition where it does not.
fn repeats(lines: &[(Option<usize>, String)]) -> (usize, usize) {
    const LONGEST: usize = 16;
    for period in 1..=LONGEST.min(lines.len() / 2) {
        let first = &lines[..period];
        let same = |next: &&[(Option<usize>, String)]| next.iter().zip(first).all(|(a, b)| a.1 == b.1);
        let times = lines[period..].chunks_exact(period).take_while(same).count();
        if times >= 2 {
            return (period, times);
        }
    }
    (1, 0)
}

/// One frame.
pub fn line(frame: &Frame) -> String {
    let name = if frame.function.is_empty() { "??".to_string() } else { qualified(&frame.function) };
    let place = if frame.file.is_empty() { String::new() } else { format!(" at {}:{}", frame.file, frame.line) };
    if frame.module.is_empty() {
        return format!("{name}{place} ({:#x}, in no library)", frame.offset);
    }
    let module = base(&frame.module);
    format!("{name}{place} ({module}+{:#x})", frame.offset)
}

/// Python's stack, innermost first. hitmap's own frames are folded.
pub fn python(frames: &[PythonFrame]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while let Some(frame) = frames.get(at) {
        let run = frames[at..].iter().take_while(|frame| is_plumbing(&frame.file)).count();
        if run > 0 {
            let _ = writeln!(text, "  … {run} frame{} of hitmap", if run == 1 { "" } else { "s" });
            at += run;
        } else {
            let _ = writeln!(text, "  File \"{}\", line {}, in {}", frame.file, frame.line, frame.function);
            at += 1;
        }
    }
    text
}

fn is_folded(owner: Owner) -> bool {
    matches!(owner, Owner::Binding | Owner::Interpreter | Owner::Hitmap)
}

/// Which binding a frame is of.
fn binding(frame: &Frame) -> &'static str {
    let text = format!("{} {} {}", frame.file, frame.function, frame.module);
    let known = [
        ("pybind11", "pybind11"),
        ("nanobind", "nanobind"),
        ("boost", "Boost.Python"),
        ("yx_", "Cython"),
        ("ffi", "cffi"),
    ];
    known.iter().find(|(word, _)| text.contains(word)).map_or("the binding", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glue_is_folded_and_arguments_are_left_out() {
        let frame = |function: &str, file: &str, owner| Frame {
            function: function.into(),
            file: file.into(),
            line: 3,
            module: "/v/lib.so".into(),
            offset: 16,
            owner,
            ..Frame::default()
        };
        let stack = [
            frame("std::vector<int, std::allocator<int> >::operator[](unsigned long)", "", Owner::Header),
            frame("ns::parse<char>(char const*)", "/s/a.cpp", Owner::Library),
            frame("pybind11::a()", "", Owner::Binding),
            frame("pybind11::b()", "", Owner::Binding),
            frame("_PyEval_EvalFrameDefault", "", Owner::Interpreter),
        ];
        let frames = [("/h.py", "h"), ("/x/hitmap/worker.py", "main"), ("<frozen runpy>", "_run")]
            .map(|(file, function)| PythonFrame { file: file.into(), line: 1, function: function.into() });
        assert_eq!(
            native(&stack, &frames),
            "  #0 std::vector::operator[] (lib.so+0x10)\n  #1 ns::parse at /s/a.cpp:3 (lib.so+0x10)\n  \
             … 2 frames of pybind11\n  … 1 frame of the Python interpreter, for h.py:1 in h\n"
        );
        let recursion = [frame("leaf()", "", Owner::Library)];
        let cycle = [frame("a()", "", Owner::Library), frame("b()", "", Owner::Library)];
        let deep: Vec<Frame> = recursion.iter().chain(cycle.iter().cycle().take(10)).cloned().collect();
        assert_eq!(
            native(&deep, &[]),
            "  #0 leaf (lib.so+0x10)\n  #1 a (lib.so+0x10)\n  #2 b (lib.so+0x10)\n  … the 2 frames above 4 times more\n"
        );
        assert_eq!(python(&frames), "  File \"/h.py\", line 1, in h\n  … 2 frames of hitmap\n");
    }
}
