//! The cheap first look at a finding: a hash of raw addresses, so that a shallow bug that is hit a
//! thousand times is named once.

use hitmap_wire::batch::notes::{Death, STACK_ENDED, Sample};
use hitmap_wire::identity::{Identity, Loaded};
use hitmap_wire::modules::Module;
use hitmap_wire::outcome::Outcome;
use xxhash_rust::xxh3::Xxh3;

/// Frames that count, from the innermost.
const DEPTH: usize = 16;

/// A place in code that is the same in every process: library and offset in its file.
pub type Place = (Identity, u64);

/// Where `address` lies, by the child's list of files; `None` for an address that lies in none, which says
/// nothing in another process.
pub fn place(address: u64, objects: &[Loaded]) -> Option<Place> {
    let object = objects.iter().find(|o| (o.span.0..o.span.1).contains(&address))?;
    Some((object.identity, address.wrapping_sub(object.bias)))
}

/// The hash of a child's death.
///
/// A crash is named by its innermost frames. A time-out or a full memory is caught at a chance
/// place, so it is named by the outermost frame in an instrumented library: the call that did not
/// come back. Of endless recursion only the places count that stand on the stack again and again: what it ended
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
    let chosen: Vec<Place> = if matches!(outcome, Outcome::Timeout | Outcome::OutOfMemory) {
        let instrumented = |p: &&Place| modules.iter().any(|m| m.identity == p.0);
        places.iter().rfind(instrumented).copied().into_iter().collect()
    } else if death.is_some_and(|death| death.has(STACK_ENDED)) {
        let mut sorted = places;
        sorted.sort_unstable();
        let mut again: Vec<Place> = sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        again.dedup();
        again
    } else {
        places.into_iter().take(DEPTH).collect()
    };
    let mut hash = Xxh3::new();
    hash.update(&[outcome as u8]);
    let by_chance = matches!(outcome, Outcome::Timeout | Outcome::OutOfMemory);
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

/// The hash of what stayed over several looks at a run: the calls in instrumented libraries that no sample was
/// without. Where there are none, as in a Python loop over short native calls, Python's own calls that went on.
pub fn of_hang(samples: &[Sample], objects: &[Loaded], modules: &[Module]) -> u64 {
    let stacks: Vec<Vec<u64>> = samples.iter().map(from_outermost).collect();
    let is_instrumented = |p: &Place| modules.iter().any(|m| m.identity == p.0);
    let placed = |address: &u64| place(*address, objects);
    let common: Vec<Place> = common(&stacks, |a, b| a == b).iter().filter_map(placed).collect();
    let mut chosen: Vec<Place> = common.iter().copied().filter(is_instrumented).collect();
    let calls: Vec<Vec<&str>> = samples.iter().filter(|s| !s.python.is_empty()).map(calls_from_outermost).collect();
    if chosen.is_empty() && calls.is_empty() {
        let outermost = |stack: &Vec<u64>| stack.iter().filter_map(placed).find(is_instrumented);
        chosen = stacks.iter().filter_map(outermost).collect();
        chosen.sort_unstable();
        chosen.dedup();
    }
    let mut hash = Xxh3::new();
    if chosen.is_empty() && !calls.is_empty() {
        let is_same = |a: &&str, b: &&str| a.rsplit('\t').next() == b.rsplit('\t').next();
        for call in common_calls(&calls, is_same) {
            hash.update(call.as_bytes());
            hash.update(&[0]);
        }
    }
    for (identity, offset) in if chosen.is_empty() && calls.is_empty() { &common } else { &chosen } {
        hash.update(identity.as_bytes());
        hash.update(&offset.to_le_bytes());
    }
    hash.digest()
}

/// Return addresses from the outermost on; handlers are left out, and so is what a deep stack has in its middle.
fn from_outermost(sample: &Sample) -> Vec<u64> {
    let stack = &sample.stack;
    let frames = if stack.outer.is_empty() { &stack.frames[stack.interrupted.unwrap_or(0)..] } else { &stack.outer };
    frames.iter().rev().copied().collect()
}

fn calls_from_outermost(sample: &Sample) -> Vec<&str> {
    sample.python.lines().rev().filter_map(|line| line.strip_prefix("frame\t")).collect()
}

/// What all lists begin with.
fn common<T: Copy>(lists: &[Vec<T>], is_same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let Some((first, rest)) = lists.split_first() else { return Vec::new() };
    let all_have =
        |at: usize, value: &T| rest.iter().all(|list| list.get(at).is_some_and(|other| is_same(value, other)));
    first.iter().enumerate().take_while(|(at, value)| all_have(*at, value)).map(|(_, value)| *value).collect()
}

/// File, line and function of the calls that went on; without the line of the innermost, which runs.
fn common_calls(calls: &[Vec<&str>], is_same: impl Fn(&&str, &&str) -> bool) -> Vec<String> {
    let calls = common(calls, is_same);
    let told = |(at, call): (usize, &&str)| {
        let mut fields = call.split('\t');
        let (file, line, function) = (fields.next(), fields.next(), fields.next());
        let line = line.filter(|_| at + 1 < calls.len());
        [file, line, function].map(Option::unwrap_or_default).join("\t")
    };
    calls.iter().enumerate().map(told).collect()
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
        of_hang(&samples, &[library, python], &[module])
    }

    #[test]
    fn a_hang_is_what_stays() {
        let none = "";
        let parse = hang(&[(&[0x1500, 0x1100, 0x20], none), (&[0x1600, 0x1100, 0x20], none)]);
        assert_eq!(parse, hang(&[(&[0x1700, 0x1600, 0x1100, 0x20], none), (&[0x1800, 0x1100, 0x20], none)]));
        assert_ne!(parse, hang(&[(&[0x1500, 0x1200, 0x20], none), (&[0x1600, 0x1200, 0x20], none)]));
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
