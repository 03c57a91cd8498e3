//! What a finding is called and what is told of it.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use hitmap_wire::modules::Module;
use hitmap_wire::outcome::Outcome;

use super::python::{self, PythonFrame};
use super::symbolize::{Frame, Symbolizer};
use crate::worker::Evidence;

/// Named functions that make up a signature.
const DEPTH: usize = 3;

/// The version of the rule that makes signatures. Findings of earlier ones are run again once.
pub const SIGNATURE_VERSION: u32 = 2;

/// What `report.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The outcome's word: signal, exception, exit, timeout, oom, sanitizer.
    pub kind: String,
    /// Tells this bug from others, 16 hex digits; the same on every machine for the same build.
    pub signature: String,
    /// The version of the rule that made it; reports without one are of version 1.
    #[serde(default = "first_version")]
    pub signature_version: u32,
    /// A newer rule for which the input was run again in vain: it did not come back, and keeps its signature.
    #[serde(default)]
    pub tried_version: u32,
    /// One line for people.
    pub title: String,
    /// The signal that ended the process.
    pub signal: Option<i32>,
    /// The exit code of a process that ended itself.
    pub exit_code: Option<i32>,
    /// The signal's `si_code`: why it was sent.
    #[serde(default)]
    pub code: Option<i32>,
    /// The address that the fault was about, as `0x…`.
    #[serde(default)]
    pub address: Option<String>,
    /// The process that sent the signal, when the kernel did not.
    #[serde(default)]
    pub sender: Option<u32>,
    /// The native stack, innermost first.
    pub frames: Vec<Frame>,
    /// Python's stack, innermost first.
    pub python_frames: Vec<PythonFrame>,
    /// Whether the input did the same when it was run again in a fresh child.
    pub reproduces: bool,
    /// The harness, as `FILE.py:NAME`.
    pub harness: String,
    /// Where the input lies.
    pub input: String,
    /// Its length in bytes.
    pub input_len: usize,
    /// Executions of its engine when it was found.
    pub found_execs: u64,
    /// Seconds since the campaign started when it was found.
    pub found_seconds: u64,
    /// The command that runs it again.
    pub replay: String,
    /// What is wrong with the file that it was read from; what it does not know is empty then.
    #[serde(skip)]
    pub damage: Option<String>,
}

fn first_version() -> u32 {
    1
}

impl Report {
    /// Whether its input should be run again to describe it: its file is damaged, or an older rule named it.
    pub fn is_stale(&self) -> bool {
        self.damage.is_some() || self.signature_version.max(self.tried_version) < SIGNATURE_VERSION
    }

    /// Whether both are of one bug.
    pub fn is_of(&self, other: &Report) -> bool {
        (&self.kind, &self.signature) == (&other.kind, &other.signature)
    }
}

/// A report and the text that goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// For machines.
    pub report: Report,
    /// For people: both stacks and what was written to standard error.
    pub traceback: String,
}

/// Names the evidence. What the caller knows better (paths, counters) is left empty.
pub fn describe(evidence: &Evidence, symbolizer: &mut Symbolizer, modules: &[Module]) -> Described {
    let native = evidence.death.as_ref().map(|death| death.stack.frames.as_slice()).unwrap_or_default();
    let frames = symbolizer.frames(native, &evidence.objects, modules);
    let exception =
        python::of_report(evidence.exception.as_ref().map(|raised| raised.text.as_str()).unwrap_or_default());
    let python_frames =
        if exception.frames.is_empty() { python::of_faulthandler(&evidence.log) } else { exception.frames };
    let sanitizer = summary(&evidence.log).filter(|_| evidence.outcome == Outcome::Sanitizer);
    // A sanitizer's last words are its summary, which repeats addresses and paths.
    let said = if sanitizer.is_some() { None } else { last_words(&evidence.log) };
    let what = match evidence.outcome {
        _ if !exception.title.is_empty() => exception.title.clone(),
        Outcome::Timeout => "ran longer than the time limit".to_string(),
        Outcome::OutOfMemory => "wanted more memory than the limit".to_string(),
        _ if sanitizer.is_some() => sanitizer.clone().unwrap_or_default(),
        Outcome::Exit => format!("exited with code {}", evidence.exit_code.unwrap_or(0)),
        _ => evidence.signal.map_or_else(|| "died".to_string(), signal_name),
    };
    let named: Vec<&Frame> = frames.iter().filter(|f| is_telling(f)).collect();
    let place = match evidence.outcome {
        Outcome::Timeout | Outcome::OutOfMemory => frames.iter().rfind(|f| f.instrumented && !f.function.is_empty()),
        _ => named.first().copied(),
    };
    let at = place.map(|f| format!(" in {}{}", shorten(&f.function), location(f))).unwrap_or_default();
    let words = said.as_deref().map(|w| format!(": {w}")).unwrap_or_default();
    let title = one_line(&format!("{what}{at}{words}"));
    let key = key(evidence, &frames, place, &python_frames, &exception.title, sanitizer.as_deref().or(said.as_deref()));
    let death = evidence.death.as_ref();
    let report = Report {
        kind: evidence.outcome.word().into(),
        signature: format!("{key:016x}"),
        signature_version: SIGNATURE_VERSION,
        title,
        signal: evidence.signal,
        exit_code: evidence.exit_code,
        code: death.filter(|death| death.signal != 0).map(|death| death.code),
        address: death.filter(|death| has_address(death.signal)).map(|death| format!("{:#x}", death.address)),
        sender: death.map(|death| death.sender).filter(|sender| *sender != 0),
        frames,
        python_frames,
        ..Report::default()
    };
    let traceback = traceback(&report, &exception.traceback, &evidence.log);
    Described { report, traceback }
}

/// The hash that tells bugs apart: names and lines, not addresses, so that it is the same on every
/// machine, and so that two raw hashes of one bug meet.
fn key(
    evidence: &Evidence,
    frames: &[Frame],
    place: Option<&Frame>,
    python_frames: &[PythonFrame],
    exception: &str,
    said: Option<&str>,
) -> u64 {
    let mut hash = Xxh3::new();
    let mut add = |text: &str| {
        hash.update(text.as_bytes());
        hash.update(&[0]);
    };
    add(evidence.outcome.word());
    let by_chance = matches!(evidence.outcome, Outcome::Timeout | Outcome::OutOfMemory);
    if !by_chance {
        add(&format!("{:?} {:?}", evidence.signal, evidence.exit_code));
    }
    // A failed assertion is one bug whoever called, at whatever depth; its text tells two in one
    // function apart where there are no lines.
    if evidence.outcome == Outcome::Sanitizer {
        add(said.unwrap_or_default());
    }
    let assertion = said.and_then(|words| words.split_once("Assertion ")).map(|(_, text)| text);
    let is_recursion = assertion.is_none() && frames.len() >= hitmap_wire::batch::notes::FRAMES - 8;
    let named: Vec<&Frame> = frames.iter().filter(|f| is_telling(f)).collect();
    if by_chance {
        add(&place.map(|f| f.function.clone()).unwrap_or_default());
    } else if is_recursion {
        let mut functions: Vec<&str> = named.iter().take(64).map(|f| f.function.as_str()).collect();
        functions.sort_unstable();
        functions.dedup();
        functions.iter().for_each(|function| add(function));
    } else {
        let mut functions: Vec<&str> = named.iter().map(|f| f.function.as_str()).collect();
        functions.dedup();
        functions.iter().take(if assertion.is_some() { 1 } else { DEPTH }).for_each(|function| add(function));
        add(assertion.unwrap_or_default());
        match named.first() {
            Some(frame) => add(&frame.line.to_string()),
            None => frames.iter().filter(|f| f.instrumented).take(DEPTH).for_each(|f| add(&format!("{:x}", f.offset))),
        }
    }
    if frames.is_empty() || !exception.is_empty() {
        add(exception.split(':').next().unwrap_or_default());
        for frame in python_frames.iter().take(DEPTH) {
            add(base(&frame.file));
            add(&frame.function);
            add(&frame.line.to_string());
        }
    }
    hash.digest()
}

/// Whether a signal comes with an address.
fn has_address(signal: i32) -> bool {
    matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP)
}

/// A signal's name.
pub fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGILL => "SIGILL",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGSYS => "SIGSYS",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGTERM => "SIGTERM",
        _ => return format!("signal {signal}"),
    };
    name.to_string()
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn location(frame: &Frame) -> String {
    if frame.file.is_empty() { String::new() } else { format!(" ({}:{})", base(&frame.file), frame.line) }
}

/// What an exception says can hold whatever the input held: escapes for the terminal, line ends,
/// megabytes.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 240;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

/// Parameters and template arguments make names unreadable; a title leaves them out. An operator's name
/// has brackets of its own, so it is only cut.
fn shorten(function: &str) -> String {
    let mut depth = 0u32;
    let bare = function.replace("(anonymous namespace)::", "");
    let outside = |c: &char| {
        let was = depth;
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        was == 0 && depth == 0
    };
    let name: String = if bare.contains("operator") { bare } else { bare.chars().filter(outside).collect::<String>() };
    let mut short: String = name.chars().take(100).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    short
}

fn is_system(frame: &Frame) -> bool {
    const SYSTEM: [&str; 10] = [
        "libclang_rt.",
        "libc.so",
        "libc-",
        "libstdc++",
        "libgcc_s",
        "libpthread",
        "ld-linux",
        "libc++",
        "libm.so",
        "linux-vdso",
    ];
    let name = base(&frame.module);
    SYSTEM.iter().any(|system| name.starts_with(system))
}

/// Whether a frame says where the bug is: named, and in no library that every process has.
fn is_telling(frame: &Frame) -> bool {
    let name = base(&frame.module);
    let plumbing = name.starts_with("_native.") || name.starts_with("_ctypes.");
    // What the compiler puts between a throw and std::terminate.
    let compilers = frame.function.starts_with("__clang_call_terminate");
    !frame.function.is_empty() && !compilers && !is_system(frame) && !is_interpreter(frame) && !plumbing
}

fn is_interpreter(frame: &Frame) -> bool {
    let name = base(&frame.module);
    name.starts_with("libpython") || name.starts_with("python3") || name == "python"
}

/// What a sanitizer found, as its summary has it: `AddressSanitizer: heap-use-after-free`. To
/// UndefinedBehaviorSanitizer all is `undefined-behavior`; the line above says what it is, with the
/// values of this run, which are left out.
fn summary(log: &str) -> Option<String> {
    let (before, line) = log.split_once("SUMMARY: ")?;
    let mut words = line.split_whitespace();
    let (tool, kind) = (words.next()?, words.next()?);
    let error = before.rsplit_once("runtime error: ").filter(|_| kind == "undefined-behavior");
    let said = error.and_then(|(_, said)| said.lines().next()?.split(':').next());
    let what = said.map_or_else(
        || kind.to_string(),
        |said| {
            let lasting = said.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
            lasting.collect::<Vec<_>>().join(" ")
        },
    );
    Some(format!("{tool} {what}"))
}

/// What the target said as it died: an assertion, an uncaught C++ exception, a sanitizer's summary.
fn last_words(log: &str) -> Option<String> {
    let telling = |line: &&str| {
        line.contains("Assertion ")
            || line.starts_with("terminate called")
            || line.starts_with("SUMMARY: ")
            || line.contains("*** stack smashing")
            || line.starts_with("free(): ")
            || line.starts_with("malloc")
            || line.starts_with("double free")
            || line.starts_with("corrupted ")
    };
    let line = log.lines().find(telling)?;
    let what = log
        .lines()
        .find(|l| l.trim_start().starts_with("what(): "))
        .map(|l| format!(" {}", l.trim()))
        .unwrap_or_default();
    let mut text: String = format!("{line}{what}").chars().take(300).collect();
    if let Some(at) = text.find("Assertion ") {
        text.drain(..at);
    }
    Some(text)
}

fn traceback(report: &Report, exception: &str, log: &str) -> String {
    let mut text = format!("{}\n", report.title);
    if !report.frames.is_empty() {
        text.push_str("\nNative stack (innermost first):\n");
        for (at, frame) in report.frames.iter().enumerate() {
            if is_interpreter(frame) && report.frames[..at].iter().any(|f| f.instrumented) {
                text.push_str("  and on in the interpreter; report.json has all of it\n");
                break;
            }
            let name = if frame.function.is_empty() { "??" } else { &frame.function };
            let place =
                if frame.file.is_empty() { String::new() } else { format!(" at {}:{}", frame.file, frame.line) };
            text.push_str(&format!("  #{at} {name}{place} ({}+0x{:x})\n", base(&frame.module), frame.offset));
        }
    }
    if !exception.is_empty() {
        text.push_str(&format!("\n{exception}"));
    } else if !report.python_frames.is_empty() {
        text.push_str("\nPython stack (innermost first):\n");
        for frame in &report.python_frames {
            text.push_str(&format!("  File \"{}\", line {}, in {}\n", frame.file, frame.line, frame.function));
        }
    }
    if !log.trim().is_empty() {
        text.push_str(&format!("\nWritten to standard error:\n{}\n", log.trim_end()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, line: u32, module: &str) -> Frame {
        Frame {
            function: function.into(),
            file: "a.cpp".into(),
            line,
            module: module.into(),
            offset: 1,
            instrumented: true,
        }
    }

    fn evidence(outcome: Outcome) -> Evidence {
        Evidence { signal: Some(6), ..Evidence::bare(outcome, 0) }
    }

    fn key_of(outcome: Outcome, frames: &[Frame]) -> u64 {
        let place = frames.last();
        key(&evidence(outcome), frames, place, &[], "", None)
    }

    #[test]
    fn system_frames_do_not_count() {
        let bare = [frame("bug", 3, "/x/lib.so"), frame("caller", 9, "/x/lib.so")];
        let with = [frame("abort", 1, "/lib/libc.so.6"), bare[0].clone(), bare[1].clone()];
        assert_eq!(key_of(Outcome::Signal, &bare), key_of(Outcome::Signal, &with));
    }

    #[test]
    fn another_line_of_one_function_is_another_bug() {
        let (a, b) = ([frame("bug", 3, "/x/lib.so")], [frame("bug", 4, "/x/lib.so")]);
        assert_ne!(key_of(Outcome::Signal, &a), key_of(Outcome::Signal, &b));
    }

    #[test]
    fn an_assertion_is_one_bug_whoever_called() {
        let called_by = |caller| [frame("bug", 3, "/x/lib.so"), frame(caller, 9, "/x/lib.so")];
        let key = |frames: &[Frame], said| key(&evidence(Outcome::Signal), frames, None, &[], "", Some(said));
        assert_eq!(key(&called_by("a"), "Assertion `x'"), key(&called_by("b"), "Assertion `x'"));
        assert_ne!(key(&called_by("a"), "Assertion `x'"), key(&called_by("a"), "Assertion `y'"));
        let deep: Vec<Frame> = std::iter::repeat_n(called_by("a"), 64).flatten().collect();
        assert_eq!(key(&called_by("a"), "Assertion `x'"), key(&deep, "Assertion `x'"));
    }

    #[test]
    fn a_time_out_is_named_by_the_call_that_did_not_come_back() {
        let a = [frame("inner", 3, "/x/lib.so"), frame("outer", 9, "/x/lib.so")];
        let b = [frame("other", 5, "/x/lib.so"), frame("outer", 9, "/x/lib.so")];
        assert_eq!(key_of(Outcome::Timeout, &a), key_of(Outcome::Timeout, &b));
    }

    #[test]
    fn titles_are_one_short_line() {
        assert_eq!(one_line("a\n\x1b[31mb"), "a  [31mb");
        assert_eq!(one_line(&"x".repeat(5_000_000)).chars().count(), 241);
    }

    #[test]
    fn a_title_has_a_functions_name_alone() {
        for (function, name) in [
            ("depth(std::__cxx11::basic_string<char, std::char_traits<char> > const&)", "depth"),
            (
                "toml::(anonymous namespace)::parser<int (*)(char)>::parse(char const*) const",
                "toml::parser::parse const",
            ),
            ("ns::Reader::operator()(int) const", "ns::Reader::operator()(int) const"),
            ("JSON_EncodeObject", "JSON_EncodeObject"),
        ] {
            assert_eq!(shorten(function), name);
        }
        assert_eq!(shorten(&"x".repeat(200)).chars().count(), 101);
    }

    #[test]
    fn a_sanitizer_names_the_bug() {
        let log = "==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010 at pc 0x1\n\
                   SUMMARY: AddressSanitizer: heap-use-after-free (/x/a.so+0x3682) (BuildId: 55) in f\n";
        let evidence = Evidence { log: log.into(), ..Evidence::bare(Outcome::Sanitizer, 1) };
        let described = describe(&evidence, &mut Symbolizer::default(), &[]);
        assert_eq!(described.report.title, "AddressSanitizer: heap-use-after-free");
        let overflow = Evidence { log: log.replace("heap-use-after-free", "heap-buffer-overflow"), ..evidence };
        let other = describe(&overflow, &mut Symbolizer::default(), &[]);
        assert_ne!(other.report.signature, described.report.signature);
    }

    #[test]
    fn undefined_behaviour_is_named_without_this_runs_values() {
        for (said, name) in [
            (
                "signed integer overflow: 2147483520 + 128 cannot be represented in type 'int'",
                "signed integer overflow",
            ),
            ("index 7 out of bounds for type 'int[4]'", "index out of bounds for type"),
            (
                "load of misaligned address 0x7ffd for type 'int', which requires 4 byte alignment",
                "load of misaligned address for type 'int', which requires byte alignment",
            ),
        ] {
            let log = format!(
                "a.cpp:3:9: runtime error: {said}\nSUMMARY: UndefinedBehaviorSanitizer: undefined-behavior a.cpp:3:9\n"
            );
            assert_eq!(summary(&log), Some(format!("UndefinedBehaviorSanitizer: {name}")));
        }
        let bare = "SUMMARY: UndefinedBehaviorSanitizer: undefined-behavior a.cpp:3:9\n";
        assert_eq!(summary(bare).as_deref(), Some("UndefinedBehaviorSanitizer: undefined-behavior"));
    }

    #[test]
    fn last_words_are_found() {
        let log = "x\npython: a.h:3: void f(): Assertion `n > 0' failed.\n";
        assert_eq!(last_words(log).as_deref(), Some("Assertion `n > 0' failed."));
        assert_eq!(
            last_words("terminate called after throwing an instance of 'E'\n  what():  no\n").as_deref(),
            Some("terminate called after throwing an instance of 'E' what():  no")
        );
        assert_eq!(last_words("quiet"), None);
    }

    #[test]
    fn a_bare_death_is_described() {
        let described = describe(&evidence(Outcome::Signal), &mut Symbolizer::default(), &[]);
        assert_eq!(described.report.title, "SIGABRT");
        assert_eq!(described.report.signature.len(), 16);
    }
}
