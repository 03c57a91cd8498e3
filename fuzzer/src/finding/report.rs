//! What is kept of a finding, for machines and for people.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use hitmap_wire::modules::Module;
use hitmap_wire::outcome::Outcome;

use super::identity::{Clues, Identity, Look};
use super::log::{self, SanitizerStack};
use super::python::{self, PythonFrame};
use super::symbolize::{Frame, Symbolizer};
use super::{stack, title};
use crate::worker::Evidence;

pub use super::identity::SIGNATURE_VERSION;

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
    /// What the signature is made of.
    #[serde(default)]
    pub identity: Vec<String>,
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
    /// Further stacks of a sanitizer's report: where memory was freed, where it was allocated.
    #[serde(default)]
    pub stacks: Vec<NamedStack>,
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

/// A stack with the line above it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedStack {
    /// What the stack is of.
    pub heading: String,
    /// Innermost first.
    pub frames: Vec<Frame>,
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
    let mut name = |addresses: &[u64]| symbolizer.frames(addresses, &evidence.objects, modules);
    let raised = evidence.exception.as_ref();
    let exception = raised.map(|raised| python::of_report(&raised.text));
    let python_frames = match &exception {
        Some(exception) if !exception.frames.is_empty() => exception.frames.clone(),
        _ => python::of_faulthandler(&evidence.log),
    };
    let death = evidence.death.as_ref();
    let stack = death.map(|death| [death.stack.frames.as_slice(), &death.stack.outer].concat()).unwrap_or_default();
    let looks = evidence.samples.iter().map(|sample| Look {
        frames: name(&sample.stack.frames),
        python: (!sample.python.is_empty()).then(|| python::of_sample(&sample.python)),
    });
    let looks: Vec<Look> = looks.collect();
    let is_report = evidence.outcome == Outcome::Sanitizer;
    let clues = Clues {
        outcome: evidence.outcome,
        signal: evidence.signal,
        death,
        frames: name(&stack),
        exception: exception.as_ref(),
        raised: raised.map(|raised| name(&raised.raised)).unwrap_or_default(),
        thrown: raised.map(|raised| name(&raised.thrown)).unwrap_or_default(),
        looks,
        python: &python_frames,
        sanitizer: is_report.then(|| log::sanitizer_kind(&evidence.log)).flatten(),
    };
    let identity = Identity::of(&clues);
    let title = title::of(&identity, &clues, evidence.exit_code, &evidence.log);
    let stacks = if is_report { log::sanitizer_stacks(&evidence.log) } else { Vec::new() };
    let stacks = stacks.into_iter().skip(1).map(|stack| named(stack, symbolizer, modules, evidence)).collect();
    let frames = [&clues.thrown, &clues.raised, &clues.frames].into_iter().find(|frames| !frames.is_empty());
    let frames = frames.cloned().or_else(|| clues.looks.first().map(|look| look.frames.clone())).unwrap_or_default();
    let report = Report {
        kind: evidence.outcome.word().into(),
        signature: format!("{:016x}", identity.signature()),
        signature_version: SIGNATURE_VERSION,
        identity: identity.parts(),
        title,
        signal: evidence.signal,
        exit_code: evidence.exit_code,
        code: death.filter(|death| death.signal != 0).map(|death| death.code),
        address: death.filter(|death| death.address != 0).map(|death| format!("{:#x}", death.address)),
        sender: death.map(|death| death.sender).filter(|sender| *sender != 0),
        frames,
        stacks,
        python_frames,
        ..Report::default()
    };
    let traceback = traceback(&report, exception.as_ref().map_or("", |exception| &exception.traceback), &evidence.log);
    Described { report, traceback }
}

/// Names the stacks that a sanitizer wrote as libraries and offsets.
fn named(stack: SanitizerStack, symbolizer: &mut Symbolizer, modules: &[Module], evidence: &Evidence) -> NamedStack {
    let is_instrumented = |path: &str| {
        let object = evidence.objects.iter().find(|object| object.path == path.as_bytes());
        object.is_some_and(|object| modules.iter().any(|module| module.identity == object.identity))
    };
    let frames =
        stack.frames.iter().flat_map(|(path, offset)| symbolizer.in_file(path, *offset, is_instrumented(path)));
    NamedStack { heading: stack.heading.clone(), frames: frames.collect() }
}

fn traceback(report: &Report, exception: &str, log: &str) -> String {
    let mut text = format!("{}\n", report.title);
    if !report.frames.is_empty() {
        let _ =
            write!(text, "\nNative stack (innermost first):\n{}", stack::native(&report.frames, &report.python_frames));
    }
    for NamedStack { heading, frames } in &report.stacks {
        let _ = write!(text, "\n{heading}\n{}", stack::native(frames, &[]));
    }
    if !exception.is_empty() {
        let _ = write!(text, "\n{exception}");
    } else if !report.python_frames.is_empty() {
        let _ = write!(text, "\nPython stack (innermost first):\n{}", stack::python(&report.python_frames));
    }
    if !log.trim().is_empty() {
        let _ = write!(text, "\nWritten to standard error:\n{}\n", log.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_death_is_described() {
        let evidence = Evidence { signal: Some(libc::SIGABRT), ..Evidence::bare(Outcome::Signal, 1) };
        let described = describe(&evidence, &mut Symbolizer::default(), &[]);
        assert_eq!(described.report.title, "SIGABRT");
        assert_eq!(described.report.signature.len(), 16);
    }

    #[test]
    fn a_report_of_an_older_version_is_read() {
        let old = r#"{"kind":"signal","signature":"00","title":"t","signal":6,"exit_code":null,"frames":[{"function":"f",
            "file":"","line":0,"module":"/x","offset":1,"instrumented":true}],"python_frames":[],"reproduces":true,
            "harness":"","input":"","input_len":0,"found_execs":0,"found_seconds":0,"replay":""}"#;
        let report: Report = serde_json::from_str(old).unwrap();
        assert_eq!((report.signature_version, report.frames.len(), report.stacks.len()), (1, 1, 0));
    }

    #[test]
    fn a_sanitizer_names_the_bug() {
        let log = "==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010 at pc 0x1\n    #0 0x1 (/x/a.so+0x1)\n\
                   freed by thread T0 here:\n    #0 0x2 (/x/a.so+0x2)\n\
                   SUMMARY: AddressSanitizer: heap-use-after-free (/x/a.so+0x3682) (BuildId: 55) in f\n";
        let evidence = Evidence { log: log.into(), ..Evidence::bare(Outcome::Sanitizer, 1) };
        let described = describe(&evidence, &mut Symbolizer::default(), &[]);
        assert_eq!(described.report.title, "AddressSanitizer: heap-use-after-free");
        assert_eq!(described.report.stacks[0].heading, "freed by thread T0 here:");
        assert!(
            described.traceback.contains("freed by thread T0 here:\n  #0 ?? (a.so+0x2)\n"),
            "{}",
            described.traceback
        );
        let overflow = Evidence { log: log.replace("heap-use-after-free", "heap-buffer-overflow"), ..evidence };
        let other = describe(&overflow, &mut Symbolizer::default(), &[]);
        assert_ne!(other.report.signature, described.report.signature);
    }
}
