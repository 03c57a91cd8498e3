//! Reading a region while its target runs on: nothing that it counts meanwhile is lost.
//!
//! [`Plan::drain_blocks`] stores whole blocks and trusts the journal, which is right while the target
//! stands still. A server that somebody else started does not. So this way of reading looks at every
//! edge, leaves alone what it read as 0, and takes the rest by an atomic swap, one byte at a time: a
//! hit is told now or next time. The journal is emptied and not believed, as an entry can be written
//! after its number was taken.
//!
//! A flag is taken before its counter. The other way round, a hit between the two would leave a counter
//! whose flag is gone, and be told only when the edge runs once more. For the same reason a flag whose
//! counter reads 0 means "hit at least once" here, not that the counter wrapped.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::class::{self, Class};
use crate::lanes::{BLOCK, How};
use crate::region::Region;
use crate::sweep::Plan;

impl Plan {
    /// Calls `touched(edge, class)` for every edge touched since the last drain, in no promised order
    /// and each once, and clears it, while other processes count.
    ///
    /// # Panics
    /// When the plan was made for a larger region.
    pub fn drain_running(&self, region: &Region, mut touched: impl FnMut(u32, Class)) {
        assert!(self.capacity() <= region.layout().capacity, "a plan reads the region that it was made for");
        region.header().journal_len.store(0, Ordering::Relaxed);
        for (range, how) in self.ranges() {
            let leading = if how == How::Counters { region.counters() } else { region.flags() };
            for first in range.clone().step_by(BLOCK) {
                // SAFETY: a plan's ranges lie within the region and start at a page, and its capacity
                // is a number of pages, so the whole block lies within the plane.
                if unsafe { is_zero(leading.add(first as usize)) } {
                    continue;
                }
                for edge in first..range.end.min(first + BLOCK as u32) {
                    // SAFETY: the edge lies in a plan's range.
                    if let Some(class) = unsafe { take(region, edge as usize, how) } {
                        touched(edge, class);
                    }
                }
            }
        }
    }
}

/// # Safety
/// A block at `at` must be mapped, at an address that is a multiple of 8.
unsafe fn is_zero(at: *mut u8) -> bool {
    debug_assert!(at.addr().is_multiple_of(8));
    // SAFETY: the caller's word.
    let words = unsafe { &*at.cast::<[AtomicU64; BLOCK / 8]>() };
    words.iter().fold(0, |any, word| any | word.load(Ordering::Relaxed)) == 0
}

/// # Safety
/// `edge` must be below the region's capacity.
unsafe fn take(region: &Region, edge: usize, how: How) -> Option<Class> {
    // SAFETY: the caller's word.
    let (counter, flag) =
        unsafe { (AtomicU8::from_ptr(region.counters().add(edge)), AtomicU8::from_ptr(region.flags().add(edge))) };
    let swap = |byte: &AtomicU8| if byte.load(Ordering::Relaxed) == 0 { 0 } else { byte.swap(0, Ordering::AcqRel) };
    match how {
        How::Counters => Some(swap(counter)).filter(|count| *count != 0).map(class::of_count),
        How::Flags => Some(swap(flag)).filter(|flag| *flag != 0).map(|_| 1),
        How::Both => Some(swap(flag)).filter(|flag| *flag != 0).map(|_| class::of_count(swap(counter)).max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::{COUNTERS, FLAGS, GUARDS};
    use crate::sweep::tests::{hit, region_with};
    use proptest::prelude::*;

    fn drained(plan: &Plan, region: &Region) -> Vec<(u32, Class)> {
        let mut found = Vec::new();
        plan.drain_running(region, |edge, class| found.push((edge, class)));
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn a_target_that_stands_still_reads_the_same_either_way(
            hits in prop::collection::vec((0usize..4, 0u32..1000), 0..1000),
        ) {
            let kinds = [(COUNTERS | FLAGS, 1000), (COUNTERS, 1000), (FLAGS, 1000), (GUARDS, 1000)];
            let ((one, all), (other, _)) = (region_with(&kinds), region_with(&kinds));
            for region in [&one, &other] {
                hits.iter().for_each(|(which, local)| hit(region, &all[*which], *local));
            }
            let plan = Plan::of(&all, one.layout().capacity);
            let mut expect = Vec::new();
            plan.drain(&one, |edge, class| expect.push((edge, class)));
            expect.sort_unstable();
            prop_assert_eq!(drained(&plan, &other), expect);
            prop_assert_eq!(drained(&plan, &other), vec![]);
        }
    }

    /// Every edge is hit once by a thread that never waits; the reader, who never waits either, must
    /// hear of each.
    #[test]
    fn a_target_that_runs_on_loses_no_edge() {
        for kind in [COUNTERS | FLAGS, COUNTERS, FLAGS, GUARDS] {
            const EDGES: u32 = 20_000;
            let (region, all) = region_with(&[(kind, EDGES)]);
            let plan = Plan::of(&all, region.layout().capacity);
            let mut heard = vec![0u32; EDGES as usize];
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| (0..EDGES).for_each(|local| hit_atomically(&region, kind, 4096 + local)));
                while !writer.is_finished() {
                    plan.drain_running(&region, |edge, _| heard[(edge - 4096) as usize] += 1);
                }
            });
            plan.drain_running(&region, |edge, _| heard[(edge - 4096) as usize] += 1);
            assert!(heard.iter().all(|times| *times != 0), "kind {kind}");
        }
    }

    fn hit_atomically(region: &Region, kind: u32, edge: u32) {
        // SAFETY: the test's edges lie in the region.
        let byte = |plane: *mut u8| unsafe { AtomicU8::from_ptr(plane.add(edge as usize)) };
        if kind & (COUNTERS | GUARDS) != 0 && byte(region.counters()).fetch_add(1, Ordering::Relaxed) == 0 {
            region.push_journal(edge);
        }
        if kind & FLAGS != 0 && byte(region.flags()).load(Ordering::Relaxed) == 0 {
            byte(region.flags()).store(1, Ordering::Relaxed);
        }
    }
}
