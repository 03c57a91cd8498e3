//! Whether a child that lives long grows with every run, and whose memory it is.
//!
//! Decides from weights that the child wrote at each doubling of its runs. A cache that fills, or a heap
//! that finds its size, grows ever less between doublings; a leak grows by the same for each run.

use hitmap_wire::batch::Weight;

/// Growth that counts, in bytes a run, and the least that it must add up to between the first and the
/// last of three weights. Below both it is lost in what allocators keep in reserve.
const SLOPE: f64 = 16.0;
const LEAST_KIB: u64 = 1024;
/// Under a sanitizer freed memory first fills the quarantine, 64 MiB and their shadow.
const LEAST_KIB_SANITIZED: u64 = 128 << 10;

/// A block of Python's own allocator is 16 to 512 bytes; this is about what one is on average.
const BLOCK: f64 = 64.0;

/// Whose memory grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// It comes from the C heap: a library's, or large Python objects.
    Heap,
    /// Python's own allocator gives out ever more blocks: objects that somebody keeps.
    Python,
    /// Neither of them grows so: memory that was mapped without `malloc`, or a foreign allocator.
    Unknown,
}

/// How much a child grows with each run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Resident memory, in bytes a run.
    pub resident: f64,
    /// Bytes of it that the C heap has given out.
    pub heap: f64,
    /// Blocks that Python's allocator has given out, a run.
    pub blocks: f64,
    /// Whether it goes on and on.
    pub is_leak: bool,
}

impl Growth {
    /// From the weights of one child, in order; `None` before there are three.
    pub fn of(weights: &[Weight], is_sanitized: bool) -> Option<Growth> {
        let [.., first, middle, last] = weights else { return None };
        let early = slope(first, middle, |w| w.resident_kib)? * 1024.0;
        let late = slope(middle, last, |w| w.resident_kib)? * 1024.0;
        let grown = last.resident_kib.saturating_sub(first.resident_kib);
        let least = if is_sanitized { LEAST_KIB_SANITIZED } else { LEAST_KIB };
        Some(Growth {
            resident: late,
            heap: slope(middle, last, |w| w.heap)?,
            blocks: slope(middle, last, |w| w.blocks)?,
            is_leak: early > SLOPE && late > SLOPE && late > early / 2.0 && grown >= least,
        })
    }

    /// Whose memory it is, when one of them accounts for a third of the growth.
    pub fn whose(&self) -> Whose {
        let python = self.blocks * BLOCK;
        if self.heap.max(python) < self.resident / 3.0 {
            Whose::Unknown
        } else if self.heap >= python {
            Whose::Heap
        } else {
            Whose::Python
        }
    }
}

/// What grew from one weight to the next, a run. A child may write what it likes, so nothing is assumed
/// of the numbers.
fn slope(from: &Weight, to: &Weight, of: fn(&Weight) -> u64) -> Option<f64> {
    let runs = to.runs.checked_sub(from.runs).filter(|runs| *runs > 0)?;
    Some((of(to) as f64 - of(from) as f64) / runs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights at 512, 1024, 2048, … runs; `(KiB, heap, blocks)` each.
    fn check(all: &[(u64, u64, u64)]) -> Option<(bool, Whose)> {
        let weight =
            |(at, w): (usize, &(u64, u64, u64))| Weight { runs: 512 << at, resident_kib: w.0, heap: w.1, blocks: w.2 };
        let weights: Vec<Weight> = all.iter().enumerate().map(weight).collect();
        Growth::of(&weights, false).map(|growth| (growth.is_leak, growth.whose()))
    }

    #[test]
    fn two_weights_say_nothing() {
        assert_eq!(check(&[(1000, 0, 0), (9000, 0, 0)]), None);
    }

    #[test]
    fn what_grows_with_every_run_is_a_leak_and_has_an_owner() {
        let mib = 1 << 20;
        assert_eq!(check(&[(0, 0, 0), (1024, mib, 0), (3072, 3 * mib, 0)]), Some((true, Whose::Heap)));
        assert_eq!(check(&[(0, 0, 0), (1024, 0, 20_000), (3072, 0, 60_000)]), Some((true, Whose::Python)));
        assert_eq!(check(&[(0, 0, 0), (1024, 0, 0), (3072, 0, 0)]), Some((true, Whose::Unknown)));
    }

    #[test]
    fn a_cache_that_fills_is_no_leak() {
        assert_eq!(check(&[(0, 0, 0), (8000, 0, 0), (9000, 0, 0)]).map(|(leak, _)| leak), Some(false));
        assert_eq!(check(&[(9000, 0, 0), (9000, 0, 0), (9000, 0, 0)]).map(|(leak, _)| leak), Some(false));
        assert_eq!(check(&[(0, 0, 0), (100, 0, 0), (300, 0, 0)]).map(|(leak, _)| leak), Some(false));
    }

    #[test]
    fn a_quarantine_that_fills_is_no_leak() {
        let weight = |(at, kib): (usize, u64)| Weight { runs: 512 << at, resident_kib: kib, heap: 0, blocks: 0 };
        let is_leak = |kib: [u64; 3]| {
            let weights: Vec<Weight> = kib.into_iter().enumerate().map(weight).collect();
            Growth::of(&weights, true).unwrap().is_leak
        };
        assert!(!is_leak([0, 20 << 10, 60 << 10]));
        assert!(is_leak([0, 100 << 10, 300 << 10]));
    }

    proptest::proptest! {
        #[test]
        fn any_numbers_are_safe(all: Vec<(u64, u64, u64, u64)>) {
            let weight = |w: &(u64, u64, u64, u64)| Weight { runs: w.0, resident_kib: w.1, heap: w.2, blocks: w.3 };
            let weights: Vec<Weight> = all.iter().map(weight).collect();
            if let Some(growth) = Growth::of(&weights, false) {
                growth.whose();
            }
        }
    }
}
