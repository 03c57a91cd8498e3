//! Whether a run touched something that the history lacks.
//!
//! The answer depends on the input and the history alone, not on what else travelled in the batch:
//! else how many travel per wake-up, which time decides, would decide what a campaign keeps. So an
//! edge that a hundred inputs of a batch reach is reported a hundred times; a hash of all that was new
//! lets the engine look at one of them.
//!
//! Owns one plane of the process's own, one byte an edge: the **limits**, the largest counts that the
//! history was seen to cover. As a history only grows, a count within its limit is boring without
//! another look, and a block of such counts is dismissed as a whole. A limit that is too low costs
//! time and nothing else. Allocates nothing.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::class::{self, Class};
use crate::lanes::Isa;
use crate::mapping::Mapping;
use crate::region::Region;
use crate::sweep::Plan;

/// What was new in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// The first edge that is above the history, in the order of the plan.
    pub edge: u32,
    /// Its class.
    pub class: Class,
    /// A hash of all such edges with their classes: FNV-1a, word by word.
    pub set: u64,
}

/// A filter over a region, for one process.
#[derive(Debug)]
pub struct Novelty {
    history: Mapping,
    limits: Mapping,
    capacity: u32,
    isa: Isa,
}

impl Novelty {
    /// A filter for regions of up to `capacity` edges. `history` has a class byte an edge, which
    /// nobody ever lowers.
    ///
    /// # Errors
    /// When the system refuses the memory.
    ///
    /// # Panics
    /// When the history is shorter than the capacity.
    pub fn new(history: Mapping, capacity: u32) -> io::Result<Novelty> {
        assert!(history.len() >= capacity as usize, "the history has a byte for every edge");
        let limits = Mapping::anonymous(capacity as usize)?;
        Ok(Novelty { history, limits, capacity, isa: Isa::best() })
    }

    /// Reads and clears the map by `plan`; gives what is above the history.
    ///
    /// # Panics
    /// When the region is larger than this filter.
    #[inline]
    pub fn judge(&mut self, plan: &Plan, region: &Region) -> Option<News> {
        assert!(region.layout().capacity <= self.capacity, "a filter has a byte for every edge");
        let (history, limits) = (self.history.base(), self.limits.base());
        let mut news: Option<News> = None;
        let judged = |edge: u32, count: u8| {
            let (at, class) = (edge as usize, class::of_count(count));
            // SAFETY: a plan's edges lie below the region's capacity, and all planes are that long.
            // The history is written by the engine, so it is read as an atomic; the limits are ours
            // alone.
            unsafe {
                let known = (*history.add(at).cast::<AtomicU8>()).load(Ordering::Relaxed);
                if class <= known {
                    *limits.add(at) = class::largest_count(known);
                    return;
                }
            }
            let news = news.get_or_insert(News { edge, class, set: 0xcbf2_9ce4_8422_2325 });
            news.set = (news.set ^ (u64::from(edge) << 8 | u64::from(class))).wrapping_mul(0x0000_0100_0000_01b3);
        };
        // SAFETY: the limits are as long as the region has edges, and are set edge by edge.
        unsafe { plan.drain_above(self.isa, region, Some(limits.cast_const()), judged) };
        news
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use proptest::prelude::*;

    use super::*;
    use crate::mapping::{self, Access};
    use crate::modules::{COUNTERS, FLAGS, GUARDS, IN_PLACE, Module};
    use crate::sweep::tests::{hit, region_with};

    /// All kinds of libraries, none a whole number of blocks.
    const KINDS: [(u32, u32); 6] = [
        (COUNTERS | FLAGS, 197),
        (GUARDS, 70),
        (COUNTERS, 130),
        (FLAGS, 65),
        (COUNTERS | FLAGS | IN_PLACE, 63),
        (GUARDS, 3),
    ];

    /// The oracle: looks at every edge of every library, and keeps no limits.
    struct Naive {
        region: Region,
        modules: Vec<Module>,
    }

    impl Naive {
        fn judge(&mut self, history: &[u8]) -> Option<(u32, Class)> {
            self.touched().into_iter().find(|(edge, class)| *class > history[*edge as usize])
        }

        fn touched(&self) -> Vec<(u32, Class)> {
            let (guards, swept): (Vec<_>, Vec<_>) = self.modules.iter().partition(|m| m.kind & GUARDS != 0);
            let mut edges: Vec<u32> = swept.iter().flat_map(|m| m.range()).collect();
            match self.region.journal().get(..self.region.header().journal_len.swap(0, Ordering::Relaxed) as usize) {
                Some(entries) => edges.extend(entries.iter().map(|entry| entry.load(Ordering::Relaxed))),
                None => edges.extend(guards.iter().flat_map(|m| m.range())),
            }
            edges.into_iter().filter_map(|edge| self.take(edge)).collect()
        }

        fn take(&self, edge: u32) -> Option<(u32, Class)> {
            let kind = self.modules.iter().find(|m| m.range().contains(&edge))?.kind;
            // SAFETY: the edge lies in the range of a library.
            let (count, flag) = unsafe {
                let at = edge as usize;
                (self.region.counters().add(at).replace(0), self.region.flags().add(at).replace(0))
            };
            let class = match (kind & FLAGS != 0, kind & COUNTERS != 0) {
                (true, _) if flag == 0 => 0,
                (true, false) => 1,
                (true, true) if count == 0 => class::WRAPPED,
                _ => class::of_count(count),
            };
            (class != 0).then_some((edge, class))
        }
    }

    /// A filter of the given lanes beside the oracle, over regions and one history alike.
    struct Pair {
        naive: Naive,
        region: Region,
        plan: Plan,
        novelty: Novelty,
        history: Mapping,
    }

    impl Pair {
        fn new(isa: Isa) -> Pair {
            let (region, modules) = region_with(&KINDS);
            let capacity = region.layout().capacity;
            let file = mapping::memory_file(c"t", capacity as usize).unwrap();
            let map = |access| Mapping::of_file(file.as_fd(), capacity as usize, access).unwrap();
            let novelty = Novelty { isa, ..Novelty::new(map(Access::SharedReadOnly), capacity).unwrap() };
            let plan = Plan::of(&modules, capacity);
            let naive = Naive { region: region_with(&KINDS).0, modules };
            Pair { naive, region, plan, novelty, history: map(Access::Shared) }
        }

        fn edge(&self, which: usize, local: u32) -> (Module, u32) {
            let module = self.naive.modules[which % KINDS.len()].clone();
            let local = local % module.edges;
            (module, local)
        }

        fn hit(&self, which: usize, local: u32, times: u32) {
            let (module, local) = self.edge(which, local);
            for _ in 0..times {
                hit(&self.region, &module, local);
                hit(&self.naive.region, &module, local);
            }
        }

        fn raise(&self, which: usize, local: u32, class: Class) {
            let (module, local) = self.edge(which, local);
            // SAFETY: the edge is a library's.
            unsafe {
                let known = self.history.base().add((module.base + local) as usize);
                *known = class.max(*known);
            }
        }

        fn overflow_journal(&self) {
            self.region.header().journal_len.store(u32::MAX, Ordering::Relaxed);
            self.naive.region.header().journal_len.store(u32::MAX, Ordering::Relaxed);
        }

        /// What both say, and that both leave the same planes behind.
        fn judge(&mut self) -> Option<(u32, Class)> {
            let len = self.region.layout().capacity as usize;
            // SAFETY: the slices are whole planes, and nobody writes meanwhile.
            let plane = |base: *mut u8| unsafe { std::slice::from_raw_parts(base, len) };
            let expect = self.naive.judge(plane(self.history.base()));
            let news = self.novelty.judge(&self.plan, &self.region);
            assert_eq!(news.map(|news| (news.edge, news.class)), expect);
            assert!(plane(self.region.counters()) == plane(self.naive.region.counters()));
            assert!(plane(self.region.flags()) == plane(self.naive.region.flags()));
            expect
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Hit(usize, u32, u32),
        Raise(usize, u32, Class),
        Judge,
        OverflowJournal,
    }

    fn step() -> impl Strategy<Value = Step> {
        // Few places, so that hits, history and reports meet.
        let place = (0..KINDS.len(), prop_oneof![0..3u32, 62..66u32, 128..131u32, 190..197u32]);
        let times = prop_oneof![8 => 1..6u32, 2 => 6..40u32, 1 => 120..140u32, 2 => 254..259u32];
        prop_oneof![
            12 => (place.clone(), times).prop_map(|((which, local), times)| Step::Hit(which, local, times)),
            6 => (place, 0..8u32).prop_map(|((which, local), bit)| Step::Raise(which, local, 1 << bit)),
            6 => Just(Step::Judge),
            1 => Just(Step::OverflowJournal),
        ]
    }

    proptest! {
        #[test]
        fn judging_equals_looking_at_every_edge(steps in prop::collection::vec(step(), 0..300)) {
            for isa in Isa::all() {
                let mut pair = Pair::new(isa);
                for step in &steps {
                    match *step {
                        Step::Hit(which, local, times) => pair.hit(which, local, times),
                        Step::Raise(which, local, class) => pair.raise(which, local, class),
                        Step::Judge => drop(pair.judge()),
                        Step::OverflowJournal => pair.overflow_journal(),
                    }
                }
                pair.judge();
            }
        }
    }

    #[test]
    fn an_edge_is_reported_until_the_history_has_it() {
        let mut pair = Pair::new(Isa::best());
        let run = |pair: &mut Pair| {
            pair.hit(0, 196, 2);
            pair.judge()
        };
        let found = Some((4096 + 196, 2));
        assert_eq!((run(&mut pair), run(&mut pair)), (found, found));
        pair.raise(0, 196, 2);
        assert_eq!((run(&mut pair), run(&mut pair)), (None, None));
    }

    #[test]
    fn the_hash_is_of_all_that_is_new() {
        let mut pair = Pair::new(Isa::best());
        let mut set = |hits: &[(usize, u32)]| {
            hits.iter().for_each(|(which, local)| pair.hit(*which, *local, 1));
            pair.novelty.judge(&pair.plan, &pair.region).map(|news| news.set)
        };
        assert_eq!(set(&[]), None);
        assert_eq!(set(&[(0, 1), (2, 5)]), set(&[(2, 5), (0, 1)]));
        assert_ne!(set(&[(0, 1)]), set(&[(0, 1), (2, 5)]));
    }

    #[test]
    fn only_the_largest_class_covers_a_counter_that_wrapped() {
        let mut pair = Pair::new(Isa::best());
        for (class, expect) in [(64, Some((4096, class::WRAPPED))), (class::WRAPPED, None)] {
            pair.raise(0, 0, class);
            for times in [1, 127, 256] {
                pair.hit(0, 0, times);
                assert_eq!(pair.judge(), expect.filter(|_| times == 256), "{times} hits, {class} known");
            }
        }
    }
}
