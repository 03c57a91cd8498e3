//! The rule as a table: pairs of findings, and whether they are one bug.

use hitmap_wire::batch::notes::Stack;

use super::*;

/// A frame, by a short text: `owner function file:line`, with `lib.so` as its library; `@start+offset` for one
/// without a name or line.
fn frame(text: &str, address: usize) -> Frame {
    let (owner, rest) = text.split_once(' ').unwrap();
    let (owner, instrumented, module) = match owner {
        "own" => (Owner::Library, true, "/v/lib.cpython-311.so"),
        "header" => (Owner::Header, true, "/v/lib.cpython-311.so"),
        "binding" => (Owner::Binding, true, "/v/lib.cpython-311.so"),
        "python" => (Owner::Interpreter, false, "/usr/bin/python3.11"),
        "system" => (Owner::System, false, "/lib/libc.so.6"),
        "nowhere" => (Owner::Library, false, ""),
        other => panic!("{other}"),
    };
    let frame = Frame { owner, instrumented, module: module.into(), address, ..Frame::default() };
    if let Some(numbers) = rest.strip_prefix('@') {
        let (start, into) = numbers.split_once('+').unwrap();
        let hex = |text| u64::from_str_radix(text, 16).unwrap();
        return Frame { start: hex(start), offset: hex(start) + hex(into), ..frame };
    }
    let (function, place) = rest.split_once(' ').unwrap_or((rest, ""));
    let (file, line) = place.split_once(':').unwrap_or_default();
    let start = 0x1000 + u64::from(function.bytes().map(u32::from).sum::<u32>()) * 0x100;
    let line: u32 = line.parse().unwrap_or(0);
    let noreturn = function.starts_with("fail");
    Frame {
        function: function.into(),
        file: file.into(),
        line,
        start,
        offset: start + u64::from(line),
        noreturn,
        ..frame
    }
}

/// Functions whose names begin with `fail` never return.
fn stack(frames: &[&str]) -> Vec<Frame> {
    frames.iter().enumerate().map(|(address, text)| frame(text, address)).collect()
}

fn death(how: How, signal: i32, code: i32, flags: u32, interrupted: Option<usize>) -> Death {
    let stack = Stack { interrupted, ..Stack::default() };
    let (thrown, text) = (String::new(), String::new());
    Death { how, signal, code, flags, address: 0, sender: 0, thread: 0, stack, thrown, text }
}

#[derive(Clone)]
struct Case {
    outcome: Outcome,
    signal: Option<i32>,
    death: Option<Death>,
    frames: Vec<Frame>,
    exception: Option<Exception>,
    raised: Vec<Frame>,
    thrown: Vec<Frame>,
    looks: Vec<Look>,
    python: Vec<PythonFrame>,
    sanitizer: Option<String>,
}

impl Case {
    fn identity(&self) -> Identity {
        Identity::of(&Clues {
            outcome: self.outcome,
            signal: self.signal,
            death: self.death.as_ref(),
            frames: self.frames.clone(),
            exception: self.exception.as_ref(),
            raised: self.raised.clone(),
            thrown: self.thrown.clone(),
            looks: self.looks.clone(),
            python: &self.python,
            sanitizer: self.sanitizer.clone(),
        })
    }
}

fn of(outcome: Outcome) -> Case {
    Case {
        outcome,
        signal: None,
        death: None,
        frames: Vec::new(),
        exception: None,
        raised: Vec::new(),
        thrown: Vec::new(),
        looks: Vec::new(),
        python: Vec::new(),
        sanitizer: None,
    }
}

fn signal(signal: i32, frames: &[&str]) -> Case {
    let death = Some(death(How::Signal, signal, 1, 0, Some(0)));
    Case { signal: Some(signal), death, frames: stack(frames), ..of(Outcome::Signal) }
}

fn segv(frames: &[&str]) -> Case {
    signal(libc::SIGSEGV, frames)
}

fn raised_again(interrupted: usize, frames: &[&str]) -> Case {
    let death = Some(death(How::Signal, libc::SIGSEGV, libc::SI_TKILL, 0, Some(interrupted)));
    Case { signal: Some(libc::SIGSEGV), death, frames: stack(frames), ..of(Outcome::Signal) }
}

/// A stack that goes on as its outer end does, which has two functions or one.
fn endless<'a>(frames: &[&'a str]) -> Vec<&'a str> {
    [frames, &frames[frames.len().saturating_sub(2)..].repeat(20)].concat()
}

fn overflow(frames: &[&str]) -> Case {
    let frames = &endless(frames);
    let death = Some(death(How::Signal, libc::SIGSEGV, 1, STACK_ENDED, Some(0)));
    Case { signal: Some(libc::SIGSEGV), death, frames: stack(frames), ..of(Outcome::Signal) }
}

fn uncaught(thrown: &str, outcome: Outcome, flags: u32, frames: &[&str]) -> Case {
    let mut death = death(How::Terminate, libc::SIGABRT, 0, flags, None);
    death.thrown = thrown.into();
    Case { signal: Some(libc::SIGABRT), death: Some(death), frames: stack(frames), ..of(outcome) }
}

fn exits(frames: &[&str]) -> Case {
    Case { death: Some(death(How::Exit, 0, 0, 0, None)), frames: stack(frames), ..of(Outcome::Exit) }
}

fn sanitizer(kind: &str, frames: &[&str]) -> Case {
    let death = Some(death(How::Report, 0, 0, 0, None));
    Case { sanitizer: Some(kind.into()), death, frames: stack(frames), ..of(Outcome::Sanitizer) }
}

fn at(function: &str, line: u32) -> PythonFrame {
    PythonFrame { file: "/h/h.py".into(), line, function: function.into() }
}

fn exception(title: &str, frames: &[PythonFrame]) -> Case {
    let exception = Exception { title: title.into(), frames: frames.to_vec(), ..Exception::default() };
    Case { exception: Some(exception), ..of(Outcome::Exception) }
}

fn hang(looks: &[&[&str]]) -> Case {
    let looks = looks.iter().map(|frames| Look { frames: stack(frames), python: None }).collect();
    Case { looks, ..of(Outcome::Timeout) }
}

fn check(rows: &[(&str, Case, Case, bool)]) {
    for (what, one, two, same) in rows {
        let (one, two) = (one.identity(), two.identity());
        assert_eq!(one.signature() == two.signature(), *same, "{what}:\n{:?}\n{:?}", one.parts(), two.parts());
        assert!(one.parts().len() > 1, "{what}: nothing names it: {one:?}");
    }
}

#[test]
fn crashes_are_told_apart_by_the_first_own_frame() {
    let glue = ["binding dispatch p.h:1", "python _PyEval_EvalFrameDefault"];
    let with = |frames: &[&'static str]| segv(&[frames, &glue].concat());
    check(&[
        ("one place, two callers", with(&["own f a.c:3", "own g a.c:9"]), with(&["own f a.c:3", "own h a.c:7"]), true),
        ("two lines of one function", with(&["own f a.c:3"]), with(&["own f a.c:4"]), false),
        ("two functions", with(&["own f a.c:3"]), with(&["own g a.c:3"]), false),
        (
            "a header's code, one caller",
            with(&["header Py_DECREF object.h:7", "own f a.c:3"]),
            with(&["header Py_DECREF object.h:8", "own f a.c:3"]),
            true,
        ),
        (
            "a header's code, two lines",
            with(&["header Py_DECREF object.h:7", "own f a.c:3"]),
            with(&["header Py_DECREF object.h:7", "own f a.c:4"]),
            false,
        ),
        ("instances of a template", with(&["own f<int>(int) a.c:3"]), with(&["own f<char>(char) a.c:3"]), true),
        ("no lines, two places", with(&["own f"]), segv(&["own f", "own f"]), true),
        ("stripped, two places", with(&["own @1000+10"]), with(&["own @1000+20"]), false),
        ("stripped, two functions", with(&["own @1000+10"]), with(&["own @2000+10"]), false),
        ("stripped, one place", with(&["own @1000+10", "own @3000+1"]), with(&["own @1000+10", "own @4000+1"]), true),
        ("two signals", with(&["own f a.c:3"]), signal(libc::SIGFPE, &["own f a.c:3"]), false),
        (
            "an address in no library",
            segv(&["nowhere @100+10", "own f a.c:3"]),
            segv(&["nowhere @900+10", "own f a.c:3"]),
            true,
        ),
        ("libc's code", segv(&["system memcpy", "own f a.c:3"]), segv(&["system memmove", "own f a.c:3"]), true),
        (
            "at any depth",
            with(&["own f a.c:3", "own g a.c:9", "own g a.c:9"]),
            with(&["own f a.c:3", "own k a.c:1"]),
            true,
        ),
    ]);
}

#[test]
fn a_function_that_never_returns_is_named_with_its_caller() {
    let abort = |frames: &[&'static str]| signal(libc::SIGABRT, &[&["system abort"], frames].concat());
    check(&[
        ("two callers", abort(&["own fail a.c:3", "own f a.c:9"]), abort(&["own fail a.c:3", "own g a.c:20"]), false),
        (
            "two lines of one caller",
            abort(&["own fail a.c:3", "own f a.c:9"]),
            abort(&["own fail a.c:3", "own f a.c:10"]),
            false,
        ),
        (
            "two of them behind one line",
            abort(&["own fail_a a.c:3", "own f a.c:9"]),
            abort(&["own fail_b a.c:3", "own f a.c:9"]),
            false,
        ),
        (
            "one caller",
            abort(&["own fail a.c:3", "own f a.c:9", "own x a.c:1"]),
            abort(&["own fail a.c:3", "own f a.c:9", "own y a.c:1"]),
            true,
        ),
        (
            "two in a row",
            abort(&["own fail a.c:3", "own fail2 a.c:4", "own f a.c:9"]),
            abort(&["own fail a.c:3", "own fail2 a.c:4", "own g a.c:9"]),
            false,
        ),
        ("a fault within", segv(&["own fail a.c:3", "own f a.c:9"]), segv(&["own fail a.c:3", "own g a.c:9"]), true),
        (
            "a throw",
            uncaught("i", Outcome::Signal, 0, &["system __cxa_throw", "own fail a.c:3", "own f a.c:9"]),
            uncaught("i", Outcome::Signal, 0, &["system __cxa_throw", "own fail a.c:3", "own g a.c:9"]),
            false,
        ),
    ]);
}

#[test]
fn handlers_are_left_out_where_they_only_pass_a_signal_on() {
    check(&[
        (
            "raised again by the target's own handler",
            raised_again(2, &["system raise", "own on_segv a.c:1", "own f a.c:3"]),
            raised_again(2, &["system raise", "own on_segv a.c:1", "own f a.c:4"]),
            false,
        ),
        (
            "raised again or not",
            raised_again(2, &["system raise", "own on_segv a.c:1", "own f a.c:3"]),
            segv(&["own f a.c:3"]),
            true,
        ),
        (
            "a handler that crashes is the bug",
            segv(&["own on_usr1 a.c:1", "own f a.c:3"]),
            segv(&["own on_usr1 a.c:1", "own f a.c:4"]),
            true,
        ),
        (
            "the target's own terminate handler",
            signal(
                libc::SIGABRT,
                &["system abort", "own mine a.c:1", "system std::terminate()", "system __cxa_throw", "own f a.c:3"],
            ),
            signal(
                libc::SIGABRT,
                &["system abort", "own mine a.c:1", "system std::terminate()", "system __cxa_throw", "own f a.c:4"],
            ),
            false,
        ),
    ]);
}

#[test]
fn uncaught_exceptions_are_told_apart_by_type_and_throw() {
    let throw = |kind: &str, line| uncaught(kind, Outcome::Signal, 0, &["system __cxa_throw", line, "own g a.c:9"]);
    check(&[
        ("two places", throw("i", "own f a.c:3"), throw("i", "own f a.c:4"), false),
        ("two types", throw("i", "own f a.c:3"), throw("St9exception", "own f a.c:3"), false),
        ("one", throw("i", "own f a.c:3"), throw("i", "own f a.c:3"), true),
        (
            "thrown on by one line",
            uncaught("i", Outcome::Signal, THROWN_ON, &["own f a.c:3", "system __cxa_rethrow", "own g a.c:9"]),
            uncaught("i", Outcome::Signal, THROWN_ON, &["own k a.c:5", "system __cxa_rethrow", "own g a.c:9"]),
            false,
        ),
        (
            "thrown on by two",
            uncaught("i", Outcome::Signal, THROWN_ON, &["own fail a.c:3", "system __cxa_rethrow", "own g a.c:9"]),
            uncaught("i", Outcome::Signal, THROWN_ON, &["own fail a.c:3", "system __cxa_rethrow", "own h a.c:1"]),
            true,
        ),
        (
            "memory",
            uncaught("St9bad_alloc", Outcome::OutOfMemory, BAD_ALLOC, &["system operator new", "own f a.c:3"]),
            uncaught("St9bad_alloc", Outcome::OutOfMemory, BAD_ALLOC, &["system operator new", "own g a.c:3"]),
            false,
        ),
    ]);
}

#[test]
fn exits_and_sanitizers_are_told_apart_by_place() {
    let asan = |kind: &str, frames: &[&str]| sanitizer(&format!("AddressSanitizer: {kind}"), frames);
    check(&[
        ("exit at two places", exits(&["system exit", "own f a.c:3"]), exits(&["system exit", "own g a.c:5"]), false),
        (
            "exit at one",
            exits(&["system exit", "own f a.c:3"]),
            exits(&["system exit", "own f a.c:3", "own g a.c:5"]),
            true,
        ),
        (
            "UBSan, two callers",
            sanitizer("UBSan: x", &["own f a.c:3", "own g a.c:1"]),
            sanitizer("UBSan: x", &["own f a.c:3", "own h a.c:1"]),
            true,
        ),
        (
            "two kinds",
            asan("heap-buffer-overflow", &["own f a.c:3"]),
            asan("heap-use-after-free", &["own f a.c:3"]),
            false,
        ),
        ("two lines", asan("SEGV", &["own f a.c:3"]), asan("SEGV", &["own f a.c:4"]), false),
        (
            "a stack that ended",
            asan("stack-overflow", &endless(&["own a x.c:1", "own f x.c:3", "own f x.c:3"])),
            asan("stack-overflow", &endless(&["own b x.c:9", "own f x.c:3", "own f x.c:3"])),
            true,
        ),
    ]);
}

#[test]
fn an_endless_recursion_is_one_bug_whatever_it_ended_in() {
    let array = "own array r.c:5";
    let map = "own map r.c:9";
    let value = "own value r.c:2";
    check(&[
        (
            "two leaves",
            overflow(&["own leaf1 r.c:50", value, array, value, array, value]),
            overflow(&["own leaf2 r.c:60", array, value, array, value]),
            true,
        ),
        (
            "two shapes",
            overflow(&[value, array, value, array, value]),
            overflow(&[map, value, map, value, map, value]),
            true,
        ),
        ("a mixed shape", overflow(&[value, array, value, map, value]), overflow(&[array, value, array, value]), true),
        (
            "recursion that ends before it",
            overflow(&[&[value, array].repeat(60)[..], &["own nest r.c:1"; 7]].concat()),
            overflow(&[&[value, array].repeat(60)[..], &["own nest r.c:1"; 2]].concat()),
            true,
        ),
        (
            "after one that ends",
            overflow(&[&["own walk r.c:7"; 120][..], &["own nest r.c:1"; 3]].concat()),
            overflow(&[&[value, array].repeat(60)[..], &["own nest r.c:1"; 3]].concat()),
            false,
        ),
        (
            "one step that is too large, below recursion that ends",
            Case {
                frames: stack(&["own big_a r.c:1", "own tree r.c:2", "own tree r.c:2", "own tree r.c:2"]),
                ..overflow(&[])
            },
            Case { frames: stack(&["own big_b r.c:1", "own tree r.c:2", "own tree r.c:2"]), ..overflow(&[]) },
            false,
        ),
        ("two recursions", overflow(&[value, array, value]), overflow(&["own walk r.c:7", "own walk r.c:7"]), false),
        (
            "a glance at a crash deep below",
            overflow(&[value, array, value, array]),
            segv(&[value, array, value, array]),
            false,
        ),
        (
            "stripped",
            overflow(&["own @100+1", "own @200+5", "own @200+5"]),
            overflow(&["own @300+1", "own @200+5", "own @200+5"]),
            true,
        ),
        (
            "in the interpreter",
            overflow(&["python list_repr", "python PyObject_Repr", "python list_repr", "python PyObject_Repr"]),
            overflow(&["python x", "python PyObject_Repr", "python list_repr", "python PyObject_Repr"]),
            true,
        ),
    ]);
}

#[test]
fn exceptions_are_told_apart_by_what_was_raised_first() {
    let root = |title: &str, line: u32| {
        let mut case = exception("SystemError: s", &[at("h", 9)]);
        let cause = super::super::python::Cause { title: title.into(), frames: vec![at("h", line)] };
        case.exception.as_mut().unwrap().causes.push(cause);
        case
    };
    let eval = "python _PyEval_EvalFrameDefault";
    let thrown = |line: &str, harness: u32| Case {
        thrown: stack(&["system __cxa_throw", line, "binding dispatch p.h:3", eval]),
        ..exception("E: x", &[at("h", harness)])
    };
    let native = |line: &str, text: &str| Case {
        raised: stack(&["python PyErr_SetString", line, eval]),
        ..exception(text, &[at("h", 3)])
    };
    let by_python = |line: u32| {
        let raised = stack(&["python type_call", eval, "own calls_back a.c:1", eval]);
        Case { raised, ..exception("E: x", &[at("callback", line), at("h", 3)]) }
    };
    check(&[
        ("two lines", exception("E: x", &[at("h", 3)]), exception("E: x", &[at("h", 4)]), false),
        ("two texts", exception("E: 1", &[at("h", 3)]), exception("E: 2", &[at("h", 3)]), true),
        ("two types", exception("E: 1", &[at("h", 3)]), exception("F: 1", &[at("h", 3)]), false),
        ("two callers", exception("E", &[at("f", 3), at("h", 8)]), exception("E", &[at("f", 3), at("h", 9)]), true),
        ("two roots", root("TypeError: t", 9), root("ValueError: v", 9), false),
        ("two places of a root", root("TypeError: t", 8), root("TypeError: t", 9), false),
        ("one root", root("TypeError: t", 9), root("TypeError: u", 9), true),
        ("two throws behind one line", thrown("own f a.c:3", 3), thrown("own g a.c:9", 3), false),
        ("one throw met at two lines", thrown("own f a.c:3", 3), thrown("own f a.c:3", 4), true),
        ("two raises behind one line", native("own f a.c:3", "E: x"), native("own f a.c:5", "E: x"), false),
        ("one raise with values", native("own f a.c:3", "E: 1"), native("own f a.c:3", "E: 2"), true),
        ("Python code that native code called", by_python(3), by_python(4), false),
        (
            "memory",
            Case { outcome: Outcome::OutOfMemory, ..native("own f a.c:3", "MemoryError") },
            Case { outcome: Outcome::OutOfMemory, ..native("own g a.c:3", "MemoryError") },
            false,
        ),
        (
            "exit in Python",
            Case { outcome: Outcome::Exit, ..exception("SystemExit: 1", &[at("h", 3)]) },
            Case { outcome: Outcome::Exit, ..exception("SystemExit: 1", &[at("h", 4)]) },
            false,
        ),
        (
            "endless recursion in Python",
            exception("RecursionError: r", &[at("f", 3), at("g", 5), at("f", 3), at("g", 5), at("f", 3)]),
            exception("RecursionError: r", &[at("leaf", 9), at("g", 5), at("f", 3), at("g", 5), at("f", 3)]),
            true,
        ),
    ]);
}

#[test]
fn a_hang_is_what_stays_on_the_stack() {
    let eval = "python _PyEval_EvalFrameDefault";
    let glue = "binding dispatch p.h:3";
    let python = |calls: &[&[(&str, &str)]]| {
        let look = |calls: &&[(&str, &str)]| Look {
            frames: stack(&[eval]),
            python: Some(calls.iter().map(|(function, id)| (at(function, 1), id.to_string())).collect()),
        };
        Case { looks: calls.iter().map(look).collect(), ..of(Outcome::Timeout) }
    };
    check(&[
        (
            "two functions",
            hang(&[&["own a a.c:1", glue, eval], &["own a a.c:2", glue, eval]]),
            hang(&[&["own b a.c:9", glue, eval]]),
            false,
        ),
        (
            "two looks at one",
            hang(&[&["own a a.c:1", glue, eval], &["own a a.c:2", glue, eval]]),
            hang(&[&["own a a.c:3", glue, eval]]),
            true,
        ),
        (
            "helpers come and go",
            hang(&[&["own x h.c:1", "own a a.c:1", glue, eval], &["own y h.c:1", "own a a.c:2", glue, eval]]),
            hang(&[&["own a a.c:3", glue, eval]]),
            true,
        ),
        (
            "two Python functions",
            python(&[&[("spin_a", "5"), ("h", "1")]]),
            python(&[&[("spin_b", "5"), ("h", "1")]]),
            false,
        ),
        (
            "Python's helpers come and go",
            python(&[&[("x", "6"), ("spin", "5"), ("h", "1")], &[("x", "7"), ("spin", "5"), ("h", "1")]]),
            python(&[&[("spin", "5"), ("h", "1")]]),
            true,
        ),
    ]);
    // A Python loop over short native calls: whichever is caught.
    let mut one = python(&[&[("loop", "5"), ("h", "1")]]);
    let two = one.clone();
    one.looks.push(Look { frames: stack(&["own short a.c:1", glue, eval]), python: None });
    check(&[("a Python loop over native calls", one, two, true)]);
}
