//! The cheap first look at a finding: a hash of raw addresses, so that a shallow bug that is hit a
//! thousand times is named once.

use hitmap_wire::batch::notes::{Death, STACK_ENDED};
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
    use hitmap_wire::batch::notes::{How, Stack};

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
}
