//! The cheap first look at a finding: a hash of raw addresses, so that a shallow bug that is hit a
//! thousand times is named once.

use hitmap_observers::places::function_start;
use hitmap_wire::batch::notes::{BAD_ALLOC, Death, PYTHON_TELLS, STACK_ENDED, Sample};
use hitmap_wire::identity::{Identity, Loaded};
use hitmap_wire::modules::Module;
use hitmap_wire::outcome::Outcome;
use xxhash_rust::xxh3::Xxh3;

use super::hang::{self, Physical};
use super::log::sanitizer_kind;
use super::python;

/// Frames that count, from the innermost.
const DEPTH: usize = 16;

/// A place in code that is the same in every process: library and offset in its file.
pub type Place = (Identity, u64);

/// Where `address` lies, by the child's list of files; `None` for an address that lies in none, which says
/// nothing in another process.
pub fn place(address: u64, objects: &[Loaded]) -> Option<Place> {
    within(address, objects).map(|(object, offset)| (object.identity, offset))
}

/// The file that holds `address`, and the address within it.
pub fn within(address: u64, objects: &[Loaded]) -> Option<(&Loaded, u64)> {
    let object = objects.iter().find(|o| (o.span.0..o.span.1).contains(&address))?;
    Some((object, address.wrapping_sub(object.bias)))
}

/// The hash of a child's death.
///
/// A crash is named by its innermost frames, and so is an allocation that failed. A time-out or a full memory of
/// which there are no looks ([`of_hang`]) is caught at a chance place, so it is named by the outermost frame in an
/// instrumented library: the call that did not come back. Of endless recursion only the places count that stand on the stack again and again: what it ended
/// in is chance.
pub fn of_death(
    outcome: Outcome,
    status: Option<i32>,
    death: Option<&Death>,
    objects: &[Loaded],
    modules: &[Module],
) -> u64 {
    let places: Vec<Place> = death
        .map(|death| death.stack.frames.iter().filter_map(|address| place(*address, objects)).collect())
        .unwrap_or_default();
    // Where an allocation failed is no chance.
    let by_chance = match outcome {
        Outcome::Timeout => true,
        Outcome::OutOfMemory => !death.is_some_and(|death| death.has(BAD_ALLOC)),
        _ => false,
    };
    let chosen: Vec<Place> = if by_chance {
        let instrumented = |p: &&Place| modules.iter().any(|m| m.identity == p.0);
        places.iter().rfind(instrumented).copied().into_iter().collect()
    } else if death.is_some_and(|death| death.has(STACK_ENDED)) {
        let mut sorted = places.clone();
        sorted.sort_unstable();
        let mut again: Vec<Place> = sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        again.dedup();
        // One step that is larger than the stack ends it as well.
        let is_recursion = places.len() > RECURSION;
        if is_recursion { again } else { places.into_iter().take(DEPTH).collect() }
    } else {
        places.into_iter().take(DEPTH).collect()
    };
    let mut hash = Xxh3::new();
    hash.update(&[outcome as u8]);
    if !by_chance {
        hash.update(&status.unwrap_or(0).to_le_bytes());
    }
    if let Some(death) = death.filter(|_| chosen.is_empty()) {
        hash.update(death.thrown.as_bytes());
    }
    for (identity, offset) in &chosen {
        hash.update(identity.as_bytes());
        hash.update(&offset.to_le_bytes());
    }
    hash.digest()
}

/// A stack of more frames than that has ended by recursion.
const RECURSION: usize = 100;

/// Python frames that count where native ones do not tell.
const PYTHON_DEPTH: usize = 3;

/// Whether the log tells more of a death than its stack: what a sanitizer found, or which Python code it was.
pub fn is_told_by_words(outcome: Outcome, death: &Death) -> bool {
    outcome == Outcome::Sanitizer || death.has(PYTHON_TELLS)
}

/// The hash together with what the log tells.
pub fn with_words(raw: u64, outcome: Outcome, log: &str) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&raw.to_le_bytes());
    if outcome == Outcome::Sanitizer {
        hash.update(sanitizer_kind(log).unwrap_or_default().as_bytes());
        return hash.digest();
    }
    for frame in python::of_faulthandler(log).iter().take(PYTHON_DEPTH) {
        for part in [frame.file.as_bytes(), &frame.line.to_le_bytes(), frame.function.as_bytes()] {
            hash.update(part);
            hash.update(&[0]);
        }
    }
    hash.digest()
}

/// Whether the log tells more of a hang than its looks: which Python code called what does not return, where
/// Python's interpreter took no look, and no instrumented library is on the stack.
pub fn is_hang_told_by_words(samples: &[Sample], objects: &[Loaded], modules: &[Module]) -> bool {
    let is_instrumented = |address: &u64| {
        place(*address, objects).is_some_and(|(identity, _)| modules.iter().any(|module| module.identity == identity))
    };
    let frames = |sample: &Sample| [sample.stack.frames.as_slice(), &sample.stack.outer].concat();
    samples.iter().all(|sample| sample.python.is_empty() && !frames(sample).iter().any(is_instrumented))
}

/// The hash of what stayed over several looks at a run: the innermost function of an instrumented library that no
/// look was without, and, where Python's interpreter took looks, its innermost call that went on.
pub fn of_hang(samples: &[Sample], objects: &[Loaded], modules: &[Module]) -> u64 {
    of_hang_with(samples, objects, modules, |object, offset| {
        function_start(&String::from_utf8_lossy(&object.path), offset)
    })
}

fn of_hang_with(
    samples: &[Sample],
    objects: &[Loaded],
    modules: &[Module],
    start_of: impl Fn(&Loaded, u64) -> Option<u64>,
) -> u64 {
    let module_of = |identity: Identity| modules.iter().find(|module| module.identity == identity);
    let physical = |address: &u64| {
        let (object, offset) = within(*address, objects)?;
        let start = start_of(object, offset.wrapping_sub(1)).unwrap_or(0);
        Some(Physical { module: object.identity, offset, start })
    };
    let look = |sample: &Sample| {
        let stack = &sample.stack;
        let frames =
            if stack.outer.is_empty() { &stack.frames[stack.interrupted.unwrap_or(0)..] } else { &stack.outer };
        frames.iter().filter_map(physical).collect::<Vec<_>>()
    };
    let looks: Vec<_> = samples.iter().map(look).collect();
    let count = hang::common(&looks);
    let common = looks.first().map_or(&[][..], |look| &look[look.len() - count..]);
    let calls: Vec<_> =
        samples.iter().filter(|s| !s.python.is_empty()).map(|sample| python::of_sample(&sample.python)).collect();
    let mut hash = Xxh3::new();
    let mut add = |frame: &Physical<Identity>| {
        hash.update(frame.module.as_bytes());
        hash.update(&if frame.start == 0 { frame.offset } else { frame.start }.to_le_bytes());
    };
    match common.iter().find(|frame| module_of(frame.module).is_some()) {
        Some(frame) => add(frame),
        None if calls.is_empty() => common.iter().for_each(&mut add),
        None => {}
    }
    if let Some(call) = hang::common_python(&calls).first() {
        hash.update(call.file.as_bytes());
        hash.update(&[0]);
        hash.update(call.function.as_bytes());
    }
    hash.digest()
}

/// The hash of an exception: the child's hash of type and Python frames, told apart by outcome.
pub fn of_exception(outcome: Outcome, signature: u64) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&[outcome as u8, 0xEE]);
    hash.update(&signature.to_le_bytes());
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hitmap_wire::batch::notes::{How, Moment, Stack};

    fn library(name: &str, start: u64) -> Loaded {
        Loaded {
            path: name.into(),
            bias: start,
            span: (start, start + 0x1000),
            identity: Identity::new(name.as_bytes()),
        }
    }

    fn death(flags: u32, frames: &[u64]) -> Death {
        let stack = Stack { frames: frames.to_vec(), ..Stack::default() };
        let (thrown, text) = (String::new(), String::new());
        Death { how: How::Signal, signal: 6, code: 0, flags, address: 0, sender: 0, thread: 0, stack, thrown, text }
    }

    fn check(flags: u32, a: (&[u64], u64), b: (&[u64], u64)) -> bool {
        let hash = |(frames, start): (&[u64], u64)| {
            let frames: Vec<u64> = frames.iter().map(|f| f + start).collect();
            of_death(Outcome::Signal, Some(6), Some(&death(flags, &frames)), &[library("a", start)], &[])
        };
        hash(a) == hash(b)
    }

    #[test]
    fn the_same_place_has_the_same_hash_wherever_it_is_loaded() {
        assert!(check(0, (&[16, 32], 0x10_0000), (&[16, 32], 0x7f00_0000)));
        assert!(!check(0, (&[16, 32], 0x10_0000), (&[16, 48], 0x10_0000)));
    }

    #[test]
    fn deep_recursion_is_one_place_at_any_depth() {
        let a: Vec<u64> = [901].into_iter().chain((0..128).map(|i| 16 * (i % 3))).collect();
        let b: Vec<u64> = [902, 903].into_iter().chain((1..=128).map(|i| 16 * (i % 3))).collect();
        assert!(check(STACK_ENDED, (&a, 0x10_0000), (&b, 0x10_0000)));
        assert!(!check(0, (&a, 0x10_0000), (&b, 0x10_0000)));
    }

    /// Addresses are innermost first, in library `a`, which is instrumented, from 0x1000 on, and in Python below.
    fn hang(samples: &[(&[u64], &str)]) -> u64 {
        let library = library("a", 0x1000);
        let module = Module {
            identity: library.identity,
            path: "a".into(),
            kind: 0,
            base: 4096,
            edges: 1,
            load_bias: 0,
            pc_table: 0,
        };
        let python = Loaded { span: (0, 0x1000), bias: 0, ..self::library("python", 0) };
        let sample = |(frames, python): &(&[u64], &str)| Sample {
            moment: if python.is_empty() { Moment::Anywhere } else { Moment::Python },
            stack: Stack { frames: frames.to_vec(), ..Stack::default() },
            python: (*python).into(),
        };
        let samples: Vec<Sample> = samples.iter().map(sample).collect();
        // Functions begin at each 0x100.
        of_hang_with(&samples, &[library, python], &[module], |_, offset| Some((offset & !0xFF) + 1))
    }

    #[test]
    fn what_the_stack_does_not_tell_is_told_by_words() {
        let dump =
            |line: u32| format!("Current thread 0x1 (most recent call first):\n  File \"h.py\", line {line} in f\n");
        let words = |outcome, log: &str| with_words(7, outcome, log);
        assert_ne!(words(Outcome::Signal, &dump(3)), words(Outcome::Signal, &dump(4)));
        assert_eq!(words(Outcome::Signal, &dump(3)), words(Outcome::Signal, &format!("noise\n{}", dump(3))));
        let report = |kind| format!("SUMMARY: AddressSanitizer: {kind} (/x/a.so+0x3)\n");
        assert_ne!(words(Outcome::Sanitizer, &report("a")), words(Outcome::Sanitizer, &report("b")));
        let is_told = |outcome, flags| is_told_by_words(outcome, &death(flags, &[0x1010]));
        assert!(
            !is_told(Outcome::Signal, 0) && is_told(Outcome::Signal, PYTHON_TELLS) && is_told(Outcome::Sanitizer, 0)
        );
    }

    #[test]
    fn a_hang_is_what_stays() {
        let none = "";
        let parse = hang(&[(&[0x1510, 0x1110, 0x20], none), (&[0x1610, 0x1110, 0x20], none)]);
        assert_eq!(parse, hang(&[(&[0x1710, 0x1610, 0x1120, 0x20], none), (&[0x1810, 0x1130, 0x20], none)]));
        assert_ne!(parse, hang(&[(&[0x1510, 0x1210, 0x20], none), (&[0x1610, 0x1210, 0x20], none)]));
        let inner = hang(&[(&[0x1510, 0x1110, 0x20], none), (&[0x1520, 0x1110, 0x20], none)]);
        assert_ne!(inner, parse, "one that is called once and stays");
    }

    #[test]
    fn a_python_loop_is_named_by_the_calls_that_go_on() {
        let (outer, inner) =
            ("frame\th.py\t9\trun\t1\n", |line: u32, id: u32| format!("frame\th.py\t{line}\tspin\t{id}\n"));
        let at = |line, id| format!("{}{outer}", inner(line, id));
        let native: &[u64] = &[0x1100, 0x20];
        let spin = hang(&[(native, ""), (&[0x20], &at(3, 2)), (native, ""), (&[0x20], &at(4, 2))]);
        assert_eq!(spin, hang(&[(&[0x1200, 0x20], ""), (&[0x20], &at(4, 7)), (&[0x20], &at(4, 7))]));
        let called_anew = hang(&[(&[0x20], &at(3, 2)), (&[0x20], &at(3, 5))]);
        assert_ne!(spin, called_anew);
    }
}
