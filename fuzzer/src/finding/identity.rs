//! Which bug a finding is: the first thing that tells it from others.
//!
//! | what became of the input | what tells the bug |
//! |---|---|
//! | a Python exception | the type of the exception that was raised first (`raise … from`), and where: the C++ throw that it translates, else the native code that made it, else the Python line |
//! | a C++ exception that nobody catches | its type, and where it was thrown |
//! | a sanitizer's report | what it found, and where |
//! | a signal | the signal, and where |
//! | the end of the stack was hit | the function that the endless recursion entered first |
//! | the time limit | the function that stayed on the stack |
//! | too much memory | where the allocation failed, or the function that stayed on the stack |
//! | an exit | where it was asked for |
//!
//! "Where" is the innermost frame of a library's own code ([`super::owner`]): function and line, or, where
//! there are no lines, the address within the function. Callers do not count: one bug is one finding
//! whoever calls it, at whatever depth. Only a function that never returns, such as `fail(message)`, is named
//! together with its caller. Values of a run (messages, addresses, exit codes) do not count
//! either. [`Identity::parts`] is what the signature is made of.

use xxhash_rust::xxh3::Xxh3;

use hitmap_wire::batch::notes::{BAD_ALLOC, Death, How, STACK_ENDED, THROWN_ON};
use hitmap_wire::outcome::Outcome;

use super::function::qualified;
use super::hang::{self, Physical};
use super::owner::{Owner, is_plumbing, is_users_python};
use super::python::{Exception, PythonFrame, type_of};
use super::symbolize::Frame;

/// The version of the rule. Signatures of another one are not compared with these.
pub const SIGNATURE_VERSION: u32 = 2;

/// Where a bug is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In native code.
    Native {
        /// The frame that names it.
        frame: Box<Frame>,
        /// Who called it, as far as functions never return.
        callers: Vec<Frame>,
        /// Whether the place within the function counts, or the function alone.
        exact: bool,
    },
    /// In Python code.
    Python {
        /// The frame that names it.
        frame: PythonFrame,
        /// Whether the line counts, or the function alone.
        exact: bool,
    },
    /// Nothing is known.
    #[default]
    Nowhere,
}

/// Which bug a finding is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A Python exception that was not expected.
    Exception {
        /// The type of the one that was raised first.
        kind: String,
        /// Where that was.
        at: Place,
    },
    /// A C++ exception that nobody caught.
    Uncaught {
        /// The mangled name of its type.
        thrown: String,
        /// Where it was thrown.
        at: Place,
    },
    /// What a sanitizer reported.
    Sanitizer {
        /// Tool and kind, without values.
        kind: String,
        /// Where.
        at: Place,
    },
    /// A fatal signal.
    Signal {
        /// Its number; 0 when it is not known.
        signal: i32,
        /// Where.
        at: Place,
    },
    /// A recursion that has no end but the stack's.
    Overflow {
        /// The functions from the one that was entered first, in the order of the calls.
        cycle: Vec<Frame>,
    },
    /// A run longer than the time limit.
    Hang {
        /// What stayed on the stack.
        at: Place,
    },
    /// More memory than the limit.
    Memory {
        /// Where the allocation failed, or what stayed on the stack.
        at: Place,
    },
    /// The process was ended by the target.
    Exit {
        /// Where that was asked for.
        at: Place,
    },
}

/// One look at a run that takes too long, named.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The native stack.
    pub frames: Vec<Frame>,
    /// Python's stack with the IDs of its calls, where the look was taken by Python's interpreter.
    pub python: Option<Vec<(PythonFrame, String)>>,
}

/// All that names a finding.
#[derive(Clone, Debug)]
pub struct Clues<'a> {
    /// What became of the input.
    pub outcome: Outcome,
    /// The signal that ended the child.
    pub signal: Option<i32>,
    /// What the child's handlers left.
    pub death: Option<&'a Death>,
    /// The stack of the death note, its outermost part behind it.
    pub frames: Vec<Frame>,
    /// The Python exception.
    pub exception: Option<&'a Exception>,
    /// The native stack where it was made.
    pub raised: Vec<Frame>,
    /// The native stack of the C++ throw that it translates.
    pub thrown: Vec<Frame>,
    /// Looks at a run that takes too long.
    pub looks: Vec<Look>,
    /// Python's stack, innermost first, where there is no exception.
    pub python: &'a [PythonFrame],
    /// What a sanitizer found.
    pub sanitizer: Option<String>,
}

impl Identity {
    /// Which bug it is.
    pub fn of(clues: &Clues<'_>) -> Identity {
        if let Some(exception) = clues.exception {
            return of_exception(clues, exception);
        }
        let how = clues.death.map(|death| death.how);
        let has = |flag: u32| clues.death.is_some_and(|death| death.has(flag));
        let at = || place(clues.frames_of_death(), clues.python, clues.is_meant());
        match clues.outcome {
            Outcome::Timeout => Identity::Hang { at: stayed(&clues.looks, &clues.frames, clues.python) },
            Outcome::OutOfMemory if has(BAD_ALLOC) => Identity::Memory { at: at() },
            Outcome::OutOfMemory => Identity::Memory { at: stayed(&clues.looks, &clues.frames, clues.python) },
            _ if has(STACK_ENDED) || clues.is_stack_overflow_report() => match cycle(&clues.frames) {
                cycle if cycle.is_empty() && clues.outcome == Outcome::Sanitizer => {
                    Identity::Sanitizer { kind: clues.sanitizer.clone().unwrap_or_default(), at: at() }
                }
                cycle if cycle.is_empty() => Identity::Signal { signal: clues.signal.unwrap_or(0), at: at() },
                cycle => Identity::Overflow { cycle },
            },
            Outcome::Sanitizer => Identity::Sanitizer { kind: clues.sanitizer.clone().unwrap_or_default(), at: at() },
            _ if how == Some(How::Terminate) && !clues.thrown_type().is_empty() => {
                Identity::Uncaught { thrown: clues.thrown_type().to_string(), at: at() }
            }
            Outcome::Exit => Identity::Exit { at: at() },
            _ => Identity::Signal { signal: clues.signal.unwrap_or(0), at: at() },
        }
    }

    /// What the signature is made of, readable.
    pub fn parts(&self) -> Vec<String> {
        let (mut parts, at) = match self {
            Identity::Exception { kind, at } => (vec!["exception".to_string(), kind.clone()], at),
            Identity::Uncaught { thrown, at } => (vec!["uncaught".to_string(), thrown.clone()], at),
            Identity::Sanitizer { kind, at } => (vec!["sanitizer".to_string(), kind.clone()], at),
            Identity::Signal { signal, at } => (vec!["signal".to_string(), signal.to_string()], at),
            Identity::Hang { at } => (vec!["hang".to_string()], at),
            Identity::Memory { at } => (vec!["memory".to_string()], at),
            Identity::Exit { at } => (vec!["exit".to_string()], at),
            Identity::Overflow { cycle } => {
                let first = cycle.first().map(|frame| [stem(&frame.module).to_string(), function_of(frame)]);
                return ["overflow".to_string()].into_iter().chain(first.into_iter().flatten()).collect();
            }
        };
        parts.extend(at.parts());
        parts
    }

    /// A hash of the parts: the same over engines, sessions, machines and rebuilds of the same source.
    pub fn signature(&self) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(&SIGNATURE_VERSION.to_le_bytes());
        for part in self.parts() {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
        hash.digest()
    }
}

impl Place {
    fn parts(&self) -> Vec<String> {
        match self {
            Place::Nowhere => Vec::new(),
            Place::Python { frame, exact } => {
                let line = if *exact { frame.line.to_string() } else { String::new() };
                vec!["python".into(), short_file(&frame.file).into(), frame.function.clone(), line]
            }
            Place::Native { frame, callers, exact } => {
                let mut parts = vec![stem(&frame.module).to_string(), function_of(frame)];
                if *exact {
                    parts.push(spot(frame));
                }
                parts.extend(callers.iter().flat_map(|caller| [function_of(caller), spot(caller)]));
                parts
            }
        }
    }
}

impl Clues<'_> {
    /// The frames of the death note from the one that the name comes from: not those of a handler that only raises
    /// the signal again, nor what the C++ runtime calls once nobody catches an exception.
    fn frames_of_death(&self) -> &[Frame] {
        let Some(death) = self.death else { return &self.frames };
        if death.has(THROWN_ON) {
            return &self.frames;
        }
        let by_software = death.how == How::Signal && death.code <= 0 && death.signal != libc::SIGABRT;
        let interrupted = death.stack.interrupted.filter(|_| by_software).unwrap_or(0);
        let from = self.frames.iter().position(|frame| frame.address >= interrupted).unwrap_or(0);
        let below = &self.frames[from..];
        let python = below.iter().position(is_eval).unwrap_or(below.len());
        let thrown = below[..python].iter().rposition(is_raising).map_or(0, |at| at + 1);
        &below[thrown..]
    }

    /// The type of the exception that nobody caught; empty where `std::terminate` was called without one.
    fn thrown_type(&self) -> &str {
        self.death.map(|death| death.thrown.as_str()).unwrap_or_default()
    }

    /// Whether code asked for the end: the processor itself faults where the bug is.
    fn is_meant(&self) -> bool {
        self.death.is_some_and(|death| match death.how {
            // What stands behind a place of another stack did not call it.
            How::Terminate => !death.has(THROWN_ON),
            How::Exit => true,
            How::Report => false,
            // A trap is how a check of a compiler or of a library without exceptions ends the process.
            How::Signal => death.code <= 0 || [libc::SIGABRT, libc::SIGILL, libc::SIGTRAP].contains(&death.signal),
        })
    }

    fn is_stack_overflow_report(&self) -> bool {
        self.sanitizer.as_deref().is_some_and(|kind| kind.ends_with(" stack-overflow"))
    }
}

fn of_exception(clues: &Clues<'_>, exception: &Exception) -> Identity {
    let (title, python) = exception.root();
    let kind = type_of(title).to_string();
    // Where the recursion was when it reached the limit is chance.
    let is_recursion = kind == "RecursionError";
    let native =
        |frames: &[Frame]| match cycle_of(&before_python(frames).iter().filter(|f| is_own(f)).collect::<Vec<_>>(), 2) {
            cycle if is_recursion && !cycle.is_empty() => Some(Place::function(&cycle[0])),
            _ => Place::within(before_python(frames), true),
        };
    let at = native(&clues.thrown)
        .or_else(|| native(&clues.raised))
        .or_else(|| match is_recursion {
            true => recurring(python).map(|frame| Place::Python { frame, exact: false }),
            false => users(python).map(|frame| Place::Python { frame, exact: true }),
        })
        .unwrap_or_default();
    match clues.outcome {
        Outcome::OutOfMemory => Identity::Memory { at },
        Outcome::Exit => Identity::Exit { at },
        _ => Identity::Exception { kind, at },
    }
}

/// Callers that name a bug together with functions that never return.
const CALLERS: usize = 4;

impl Place {
    fn native(frame: &Frame) -> Place {
        Place::Native { frame: Box::new(frame.clone()), callers: Vec::new(), exact: true }
    }

    fn function(frame: &Frame) -> Place {
        Place::Native { frame: Box::new(frame.clone()), callers: Vec::new(), exact: false }
    }

    /// The innermost frame of the library's own code. Where the end was meant, such as a throw, and that function never
    /// returns, its callers, up to one that can.
    fn within(frames: &[Frame], is_meant: bool) -> Option<Place> {
        let mut own = frames.iter().filter(|frame| is_own(frame));
        let frame = own.next()?;
        let (mut callers, mut last) = (Vec::new(), frame);
        while let Some(caller) = own.next().filter(|_| is_meant && last.noreturn && callers.len() < CALLERS) {
            callers.push(caller.clone());
            last = caller;
        }
        Some(Place::Native { frame: Box::new(frame.clone()), callers, exact: true })
    }
}

/// Where a stack says that a bug is. The library's own code is looked for up to where Python code called it; else
/// Python's line names the bug; else whatever has a name.
fn place(frames: &[Frame], python: &[PythonFrame], is_meant: bool) -> Place {
    let named = |frame: &&Frame| !frame.function.is_empty() && !matches!(frame.owner, Owner::System | Owner::Hitmap);
    if let Some(place) = Place::within(before_python(frames), is_meant) {
        return place;
    }
    if let Some(frame) = users(python) {
        return Place::Python { frame, exact: true };
    }
    let frame =
        own(frames).or_else(|| frames.iter().find(named)).or_else(|| frames.iter().find(|f| !f.module.is_empty()));
    frame.map_or(Place::Nowhere, Place::native)
}

/// The innermost frame of a library's own code.
fn own(frames: &[Frame]) -> Option<&Frame> {
    frames.iter().find(|frame| is_own(frame))
}

fn is_own(frame: &Frame) -> bool {
    frame.owner == Owner::Library && !frame.module.is_empty()
}

/// What native code called since Python code ran last.
fn before_python(frames: &[Frame]) -> &[Frame] {
    &frames[..frames.iter().position(is_eval).unwrap_or(frames.len())]
}

/// The loop of CPython's interpreter.
fn is_eval(frame: &Frame) -> bool {
    frame.owner == Owner::Interpreter
        && ["_PyEval_", "PyEval_EvalFrame", "PyEval_EvalCode"].iter().any(|start| frame.function.starts_with(start))
}

/// What the C++ runtime calls between a throw and the end of the process.
fn is_raising(frame: &Frame) -> bool {
    ["__cxa_throw", "__cxa_rethrow", "std::terminate", "__cxxabiv1::__terminate", "__clang_call_terminate"]
        .contains(&qualified(&frame.function).as_str())
}

/// The innermost Python frame that is the user's or a package's; the innermost of all where there is none.
fn users(frames: &[PythonFrame]) -> Option<PythonFrame> {
    let users = frames.iter().find(|frame| is_users_python(&frame.file));
    users.or_else(|| frames.iter().find(|frame| !is_plumbing(&frame.file))).cloned()
}

/// The function that an endless recursion of Python code entered first.
fn recurring(frames: &[PythonFrame]) -> Option<PythonFrame> {
    let calls: Vec<&PythonFrame> = frames.iter().filter(|frame| is_users_python(&frame.file)).collect();
    let ids: Vec<_> = calls.iter().map(|frame| (base(&frame.file), frame.function.as_str())).collect();
    first_of_cycle(&ids, 2).map(|at| calls[at].clone()).or_else(|| users(frames))
}

/// What stays on the stack of a run that does not end, as far as several looks tell it.
fn stayed(looks: &[Look], last: &[Frame], python: &[PythonFrame]) -> Place {
    let mut stacks: Vec<&[Frame]> = looks.iter().map(|look| look.frames.as_slice()).collect();
    stacks.retain(|frames| !frames.is_empty());
    // The last words may be another thread's, so they count only where there was no look.
    if stacks.is_empty() && !last.is_empty() {
        stacks.push(last);
    }
    let physical: Vec<Vec<Physical<&str>>> = stacks.iter().map(|frames| physical(frames)).collect();
    let count = hang::common(&physical);
    let common: &[Frame] = stacks.first().map_or(&[], |frames| {
        let total = frames.iter().map(|frame| frame.address).max().map_or(0, |last| last + 1);
        let from = frames.iter().position(|frame| frame.address + count >= total).unwrap_or(frames.len());
        &frames[from..]
    });
    // Inlined code of the innermost address is at a place of its own in each look: what all of them have in common
    // counts.
    let innermost = common.first().map(|frame| frame.address);
    let depth = |frames: &[Frame]| frames.iter().map(|frame| frame.address).max().unwrap_or(0);
    let inlined = |frames: &[Frame], look: &[Frame]| -> usize {
        let Some(address) = innermost else { return 0 };
        let at = (depth(look) + address).checked_sub(depth(frames));
        let chain = |frames: &[Frame], at: usize| -> Vec<String> {
            frames.iter().rev().filter(|frame| frame.address == at).map(|frame| frame.function.clone()).collect()
        };
        let (one, two) = (chain(frames, address), at.map(|at| chain(look, at)).unwrap_or_default());
        one.iter().zip(&two).take_while(|(a, b)| a == b).count()
    };
    let held = stacks.first().map_or(0, |first| stacks.iter().map(|look| inlined(first, look)).min().unwrap_or(0));
    let at_innermost = common.iter().filter(|frame| Some(frame.address) == innermost).count();
    let whole: Vec<&Frame> = common.iter().skip(at_innermost.saturating_sub(held.max(1))).collect();
    let until_python = whole.iter().position(|frame| is_eval(frame)).unwrap_or(whole.len());
    if let Some(frame) = whole[..until_python].iter().find(|frame| is_own(frame)) {
        return Place::function(frame);
    }
    let calls: Vec<_> = looks.iter().filter_map(|look| look.python.clone()).collect();
    let calls = hang::common_python(&calls);
    let frame = users(&calls).or_else(|| users(python));
    if let Some(frame) = frame {
        return Place::Python { frame, exact: false };
    }
    whole.iter().find(|frame| is_own(frame)).map_or(Place::Nowhere, |frame| Place::function(frame))
}

/// The stack by addresses, without the frames of inlined code.
fn physical(frames: &[Frame]) -> Vec<Physical<&str>> {
    let mut physical: Vec<Physical<&str>> = Vec::new();
    let mut last = usize::MAX;
    for frame in frames.iter().filter(|frame| std::mem::replace(&mut last, frame.address) != frame.address) {
        physical.push(Physical { module: &frame.module, offset: frame.offset, start: frame.start });
    }
    physical
}

/// The functions of an endless recursion, from the one that was entered first. Whatever the recursion ended in
/// stands on the stack once, so it has no part in it.
fn cycle(frames: &[Frame]) -> Vec<Frame> {
    let by_own: Vec<&Frame> = frames.iter().filter(|frame| is_own(frame)).collect();
    let by_all = || frames.iter().filter(|f| !f.module.is_empty() && !matches!(f.owner, Owner::System | Owner::Hitmap));
    let found = cycle_of(&by_own, REPEATS);
    if found.is_empty() { cycle_of(&by_all().collect::<Vec<_>>(), REPEATS) } else { found }
}

fn cycle_of(frames: &[&Frame], least: usize) -> Vec<Frame> {
    let ids: Vec<_> = frames.iter().map(|frame| (frame.module.as_str(), function_of(frame))).collect();
    let Some(first) = first_of_cycle(&ids, least) else { return Vec::new() };
    let next = ids[..first].iter().rposition(|id| *id == ids[first]).unwrap_or(first);
    let mut cycle: Vec<usize> = Vec::new();
    for at in (next + 1..=first).rev() {
        if !cycle.iter().any(|known| ids[*known] == ids[at]) {
            cycle.push(at);
        }
    }
    cycle.into_iter().map(|at| frames[at].clone()).collect()
}

/// Innermost calls in which an endless recursion repeats itself. Recursion that ends may come before it.
const REPEATS_WITHIN: usize = 100;
/// Calls of one function that make a recursion endless: a smaller number ends by itself, above a step that is too
/// large for the stack.
const REPEATS: usize = 8;

/// Where the function of an endless recursion stands that was entered first; calls are innermost first.
fn first_of_cycle<T: PartialEq>(calls: &[T], least: usize) -> Option<usize> {
    let inner = &calls[..calls.len().min(REPEATS_WITHIN)];
    let repeats = |call: &T| inner.iter().filter(|other| *other == call).count() >= least;
    calls.iter().rposition(repeats)
}

/// What a function is called in a signature.
pub fn function_of(frame: &Frame) -> String {
    match (frame.function.is_empty(), frame.start) {
        (false, _) => qualified(&frame.function),
        (true, 0) => format!("{:#x}", frame.offset),
        (true, start) => format!("{start:#x}"),
    }
}

/// The place within the function: its line, or how far into the code it is.
fn spot(frame: &Frame) -> String {
    if frame.line != 0 {
        return format!("{}:{}", base(&frame.file), frame.line);
    }
    format!("+{:#x}", frame.offset.wrapping_sub(frame.start))
}

/// A Python file as every machine has it: below the folder that packages are installed in; else its name, and for the
/// file of a package its folder's name too.
fn short_file(path: &str) -> &str {
    let installed = ["/site-packages/", "/dist-packages/"].iter().find_map(|folder| path.rsplit_once(folder));
    if let Some((_, below)) = installed {
        return below;
    }
    match path.strip_suffix("/__init__.py").and_then(|package| package.rfind('/')) {
        Some(at) => &path[at + 1..],
        None => base(path),
    }
}

/// A path's last name.
pub fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A library's name without the suffix that says for which Python it was built.
fn stem(module: &str) -> &str {
    let name = base(module);
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
