//! Reading a region: every touched edge, once, and cleared on the way.
//!
//! Inline counters and flags are swept: one pass finds and clears. Guard libraries are read by the
//! journal, at the cost of what was touched. When the journal overflowed they are swept too.

use std::sync::atomic::Ordering;

use crate::class::{self, Class};
use crate::modules::{COUNTERS, FLAGS, GUARDS, IN_PLACE, Module};
use crate::region::Region;

/// Ranges of edges that are read alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    swept: Vec<Swept>,
    guards: Vec<std::ops::Range<u32>>,
    edges: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Swept {
    range: std::ops::Range<u32>,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Flags say what was hit, counters how often.
    Both,
    /// Only counters: what was hit exactly 256 times is missed.
    Counters,
    /// Only flags: everything that was hit was hit once.
    Flags,
}

impl Plan {
    /// How to read `modules` of a region with `capacity` edges. Ranges are clamped to the capacity,
    /// so a plan can never read outside of the region it was made for.
    pub fn of(modules: &[Module], capacity: u32) -> Plan {
        let mut plan = Plan::default();
        for module in modules.iter().filter(|m| !m.is_refused()) {
            let range = module.base.min(capacity)..module.range().end.min(capacity);
            plan.edges += u64::from(range.end - range.start);
            let how = match (module.kind & FLAGS != 0, module.kind & COUNTERS != 0) {
                (true, true) => How::Both,
                (true, false) => How::Flags,
                _ => How::Counters,
            };
            if module.kind & GUARDS != 0 {
                plan.guards.push(range);
            } else {
                plan.swept.push(Swept { range, how });
            }
        }
        plan
    }

    /// Edges that the plan covers.
    pub fn edges(&self) -> u64 {
        self.edges
    }

    /// Calls `touched(edge, class)` for every edge touched since the last drain, in no promised
    /// order and each once, and clears it.
    #[inline]
    pub fn drain(&self, region: &Region, mut touched: impl FnMut(u32, Class)) {
        let (counters, flags) = (region.counters(), region.flags());
        for Swept { range, how } in &self.swept {
            let (at, len) = (range.start as usize, range.len());
            // SAFETY: `Plan::of` clamped the range to the region's capacity, so both slices lie
            // within their planes. Ranges start at a page, so they are aligned for whole words.
            // Threads of the target may write at the same time; bytes are plain data, and a write
            // that races with the clear is seen now or in the next run.
            unsafe {
                match how {
                    How::Both => scan(flags.add(at), len, |i| {
                        let counter = counters.add(at + i);
                        let count = counter.replace(0);
                        touched(
                            range.start + i as u32,
                            if count == 0 { class::WRAPPED } else { class::of_count(count) },
                        );
                    }),
                    How::Counters => scan_values(counters.add(at), len, |i, count| {
                        touched(range.start + i as u32, class::of_count(count));
                    }),
                    How::Flags => scan(flags.add(at), len, |i| touched(range.start + i as u32, 1)),
                }
            }
        }
        if !self.guards.is_empty() {
            self.drain_journal(region, touched);
        }
    }

    fn drain_journal(&self, region: &Region, mut touched: impl FnMut(u32, Class)) {
        let len = region.header().journal_len.swap(0, Ordering::Relaxed) as usize;
        let counters = region.counters();
        let Some(entries) = region.journal().get(..len) else {
            for range in &self.guards {
                // SAFETY: as in `drain`.
                unsafe {
                    scan_values(counters.add(range.start as usize), range.len(), |i, count| {
                        touched(range.start + i as u32, class::of_count(count));
                    });
                }
            }
            return;
        };
        for entry in entries {
            let edge = entry.load(Ordering::Relaxed);
            if !self.guards.iter().any(|range| range.contains(&edge)) {
                continue;
            }
            // SAFETY: the edge lies in a range that was clamped to the capacity.
            let count = unsafe { counters.add(edge as usize).replace(0) };
            if count != 0 {
                touched(edge, class::of_count(count));
            }
        }
    }
}

/// Whether any library must be carried over by the process itself.
pub fn has_in_place(modules: &[Module]) -> bool {
    modules.iter().any(|m| m.kind & IN_PLACE != 0)
}

/// Calls `hit(i)` for every non-zero byte of a plane and clears it.
///
/// # Safety
/// `plane` must be readable and writable for `len` bytes and aligned to 8.
#[inline(always)]
unsafe fn scan(plane: *mut u8, len: usize, mut hit: impl FnMut(usize)) {
    // SAFETY: the caller's word.
    unsafe { scan_values(plane, len, |i, _| hit(i)) }
}

/// Calls `hit(i, value)` for every non-zero byte of a plane and clears it.
///
/// Blocks of 64 bytes are tested as a whole, then word by word: most of a map is zero.
///
/// # Safety
/// `plane` must be readable and writable for `len` bytes and aligned to 8.
#[inline(always)]
unsafe fn scan_values(plane: *mut u8, len: usize, mut hit: impl FnMut(usize, u8)) {
    const WORDS: usize = 8;
    debug_assert!(plane.cast::<u64>().is_aligned());
    let words = plane.cast::<u64>();
    let blocks = len / (8 * WORDS);
    // SAFETY: every index below is under `len` by construction of `blocks`.
    unsafe {
        for block in 0..blocks {
            let at = words.add(block * WORDS);
            let mut any = 0;
            for i in 0..WORDS {
                any |= *at.add(i);
            }
            if any == 0 {
                continue;
            }
            for i in 0..WORDS {
                let mut word = *at.add(i);
                if word == 0 {
                    continue;
                }
                *at.add(i) = 0;
                let first = (block * WORDS + i) * 8;
                while word != 0 {
                    let byte = word.trailing_zeros() as usize / 8;
                    hit(first + byte, (word >> (8 * byte)) as u8);
                    word &= !(0xFF << (8 * byte));
                }
            }
        }
        for i in blocks * 8 * WORDS..len {
            let value = plane.add(i).replace(0);
            if value != 0 {
                hit(i, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::modules;
    use proptest::prelude::*;

    fn module(kind: u32, edges: u32) -> Module {
        let identity = Identity::new(&[kind as u8, edges as u8, (edges >> 8) as u8]);
        Module { identity, path: String::new(), kind, base: 0, edges, load_bias: 0, pc_table: 0 }
    }

    fn region_with(kinds: &[(u32, u32)]) -> (Region, Vec<Module>) {
        let region = Region::private(64 * 4096).unwrap();
        for (kind, edges) in kinds {
            modules::register(&region, &module(*kind, *edges)).unwrap();
        }
        let all = modules::all(&region);
        (region, all)
    }

    fn drained(plan: &Plan, region: &Region) -> Vec<(u32, u8)> {
        let mut found = Vec::new();
        plan.drain(region, |edge, class| found.push((edge, class)));
        found.sort_unstable();
        found
    }

    /// What instrumented code does on one hit.
    fn hit(region: &Region, module: &Module, local: u32) {
        let edge = module.base + local;
        // SAFETY: the test's edges lie in the module's range.
        unsafe {
            let counter = region.counters().add(edge as usize);
            if module.kind & GUARDS != 0 {
                if *counter == 0 {
                    region.push_journal(edge);
                }
                *counter = counter.read().saturating_add(1);
            } else {
                if module.kind & COUNTERS != 0 {
                    *counter = counter.read().wrapping_add(1);
                }
                if module.kind & FLAGS != 0 {
                    *region.flags().add(edge as usize) = 1;
                }
            }
        }
    }

    #[test]
    fn a_wrapped_counter_is_still_a_hit_when_flags_are_there() {
        let (region, all) = region_with(&[(COUNTERS | FLAGS, 100)]);
        (0..256).for_each(|_| hit(&region, &all[0], 99));
        assert_eq!(drained(&Plan::of(&all, region.layout().capacity), &region), [(4096 + 99, 128)]);
    }

    #[test]
    fn a_journal_that_overflowed_is_swept() {
        let (region, all) = region_with(&[(GUARDS, 100)]);
        hit(&region, &all[0], 5);
        region.header().journal_len.store(u32::MAX, Ordering::Relaxed);
        let plan = Plan::of(&all, region.layout().capacity);
        assert_eq!(drained(&plan, &region), [(4096 + 5, 1)]);
        assert_eq!(drained(&plan, &region), []);
    }

    #[test]
    fn a_journal_that_lies_reads_nothing_foreign() {
        let (region, all) = region_with(&[(GUARDS, 100)]);
        for edge in [0, 1, 4095, 4096 + 100, u32::MAX] {
            region.push_journal(edge);
        }
        assert_eq!(drained(&Plan::of(&all, region.layout().capacity), &region), []);
    }

    proptest! {
        /// The oracle is a plain count of every hit.
        #[test]
        fn drain_equals_counting(hits in prop::collection::vec((0usize..4, 0u32..1000), 0..2000)) {
            let kinds = [(COUNTERS | FLAGS, 1000), (COUNTERS, 1000), (FLAGS, 1000), (GUARDS, 1000)];
            let (region, all) = region_with(&kinds);
            let mut counts = std::collections::BTreeMap::new();
            for (which, local) in hits {
                hit(&region, &all[which], local);
                *counts.entry(all[which].base + local).or_insert(0u32) += 1;
            }
            let expect: Vec<(u32, u8)> = counts.iter().map(|(edge, count)| {
                let only_flags = all[2].range().contains(edge);
                (*edge, if only_flags { 1 } else { class::of_count(*count as u8) })
            }).collect();
            let plan = Plan::of(&all, region.layout().capacity);
            prop_assert_eq!(drained(&plan, &region), expect);
            prop_assert_eq!(drained(&plan, &region), vec![]);
        }
    }
}
