//! Reading a region: every touched edge, once, and cleared on the way.
//!
//! Inline counters and flags are swept: one pass finds and clears. Guard libraries are read by the
//! journal, at the cost of what was touched. When the journal overflowed, or is distrusted because
//! threads count on meanwhile, they are swept too.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::PAGE;
use crate::class::{self, Class};
pub use crate::lanes::BLOCK;
pub use crate::lanes::blocks::Blocks;
use crate::lanes::{self, How, Isa, Stretch};
use crate::modules::{COUNTERS, FLAGS, GUARDS, IN_PLACE, Module};
use crate::region::Region;

/// Ranges of edges that are read alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    swept: Vec<Swept>,
    guards: Vec<Range<u32>>,
    edges: u64,
    capacity: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Swept {
    range: Range<u32>,
    how: How,
}

impl Plan {
    /// How to read `modules` of a region with `capacity` edges. Ranges are clamped to the capacity,
    /// so a plan can never read outside of the region it was made for. A library that does not start
    /// at a page is none that was registered, and is left out.
    pub fn of(modules: &[Module], capacity: u32) -> Plan {
        let mut plan = Plan { capacity, ..Plan::default() };
        for module in modules.iter().filter(|m| !m.is_refused() && m.base.is_multiple_of(PAGE as u32)) {
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

    /// Whether some edges are read by the journal.
    pub fn has_journal(&self) -> bool {
        !self.guards.is_empty()
    }

    /// The end of the last page of edges that is read; 0 when none is.
    pub fn end(&self) -> usize {
        self.ranges().map(|(range, _)| (range.end as usize).next_multiple_of(PAGE)).max().unwrap_or(0)
    }

    /// Edges of the region that the plan was made for.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// All ranges, and how each is read without a journal.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (&Range<u32>, How)> {
        let guards = self.guards.iter().map(|range| (range, How::Counters));
        self.swept.iter().map(|swept| (&swept.range, swept.how)).chain(guards)
    }

    /// Calls `touched(edge, class)` for every edge touched since the last drain, in no promised
    /// order and each once, and clears it.
    ///
    /// # Panics
    /// When the plan was made for a larger region.
    #[inline]
    pub fn drain(&self, region: &Region, mut touched: impl FnMut(u32, Class)) {
        // SAFETY: there are no limits.
        unsafe { self.drain_above(Isa::best(), region, None, |edge, count| touched(edge, class::of_count(count))) }
    }

    /// Clears every touched edge, and calls `hit(edge, count)` for those whose count is above its
    /// byte in `limits`. A count that wrapped is told as 255.
    ///
    /// # Safety
    /// `limits` has a readable byte for every edge of the region. `hit` changes no byte of it but
    /// that of the edge that it is called for.
    #[inline]
    pub(crate) unsafe fn drain_above(
        &self,
        isa: Isa,
        region: &Region,
        limits: Option<*const u8>,
        mut hit: impl FnMut(u32, u8),
    ) {
        assert!(self.capacity <= region.layout().capacity, "a plan reads the region that it was made for");
        for Swept { range, how } in &self.swept {
            // SAFETY: `of` made the range for a region that is no larger than this one.
            unsafe { sweep(isa, region, limits, range, *how, &mut hit) };
        }
        if self.guards.is_empty() {
            return;
        }
        let len = region.header().journal_len.swap(0, Ordering::Relaxed) as usize;
        match region.journal().get(..len) {
            // SAFETY: the journal's edges are checked to lie in the plan, whose limits are the caller's.
            Some(entries) => self.drain_journal(region, entries, |edge, count| unsafe {
                if limits.is_none_or(|limits| count > *limits.add(edge as usize)) {
                    hit(edge, count);
                }
            }),
            None => {
                for range in &self.guards {
                    // SAFETY: as above.
                    unsafe { sweep(isa, region, limits, range, How::Counters, &mut hit) };
                }
            }
        }
    }

    /// Clears every touched edge. What was swept is added to `blocks`; what a journal has is told by
    /// `hits`, a few at a time. Each edge is told once.
    ///
    /// # Panics
    /// When the plan was made for a larger region.
    #[inline]
    pub fn drain_blocks(&self, region: &Region, blocks: &mut Blocks, hits: impl FnMut(&[(u32, Class)])) {
        assert!(self.capacity <= region.layout().capacity, "a plan reads the region that it was made for");
        for Swept { range, how } in &self.swept {
            // SAFETY: `of` made the range for a region that is no larger than this one.
            unsafe { sweep_blocks(region, range, *how, blocks) };
        }
        if self.guards.is_empty() {
            return;
        }
        let len = region.header().journal_len.swap(0, Ordering::Relaxed) as usize;
        match region.journal().get(..len) {
            Some(entries) => self.drain_journal_by_chunks(region, entries, hits),
            None => {
                for range in &self.guards {
                    // SAFETY: as above.
                    unsafe { sweep_blocks(region, range, How::Counters, blocks) };
                }
            }
        }
    }

    /// Calls `touched(edge)` for what is touched now, and clears nothing: of libraries that are swept
    /// all that is not 0, of guards what the journal has from entry `from` on. Returns how many
    /// entries the journal has.
    ///
    /// # Panics
    /// When the plan was made for a larger region.
    pub fn peek(&self, region: &Region, from: u32, mut touched: impl FnMut(u32)) -> u32 {
        assert!(self.capacity <= region.layout().capacity, "a plan reads the region that it was made for");
        for Swept { range, how } in &self.swept {
            let plane = if *how == How::Counters { region.counters() } else { region.flags() };
            // SAFETY: `of` made the range for a region that is no larger than this one.
            unsafe { peek_at(plane, range, &mut touched) };
        }
        let len = region.header().journal_len.load(Ordering::Relaxed);
        match region.journal().get(from.min(len) as usize..len as usize) {
            Some(entries) => {
                let edges = entries.iter().map(|entry| entry.load(Ordering::Relaxed));
                edges.filter(|edge| self.guards.iter().any(|range| range.contains(edge))).for_each(touched);
            }
            None => {
                for range in &self.guards {
                    // SAFETY: as above.
                    unsafe { peek_at(region.counters(), range, &mut touched) };
                }
            }
        }
        len
    }

    fn drain_journal_by_chunks(&self, region: &Region, entries: &[AtomicU32], hits: impl FnMut(&[(u32, Class)])) {
        match self.guards.as_slice() {
            // The usual case needs no list.
            &[Range { start, end }] => chunks(region, entries, |edge| (start..end).contains(&edge), hits),
            many => chunks(region, entries, |edge| many.iter().any(|range| range.contains(&edge)), hits),
        }
    }

    #[inline]
    fn drain_journal(&self, region: &Region, entries: &[AtomicU32], hit: impl FnMut(u32, u8)) {
        match self.guards.as_slice() {
            // The usual case needs no list.
            &[Range { start, end }] => walk(region, entries, |edge| edge.wrapping_sub(start) < end - start, hit),
            many => walk(region, entries, |edge| many.iter().any(|range| range.contains(&edge)), hit),
        }
    }
}

#[inline(always)]
fn walk(region: &Region, entries: &[AtomicU32], is_ours: impl Fn(u32) -> bool, mut hit: impl FnMut(u32, u8)) {
    let counters = region.counters();
    for entry in entries {
        let edge = entry.load(Ordering::Relaxed);
        if !is_ours(edge) {
            continue;
        }
        // SAFETY: the edge lies in a range of the plan, which was clamped to the capacity.
        let count = unsafe { counters.add(edge as usize).replace(0) };
        if count != 0 {
            hit(edge, count);
        }
    }
}

/// Takes what a journal has through an array of its own: every store to the counters might, for all the
/// compiler knows, change a list of the caller's.
#[inline(always)]
fn chunks(
    region: &Region,
    entries: &[AtomicU32],
    is_ours: impl Fn(u32) -> bool,
    mut hits: impl FnMut(&[(u32, Class)]),
) {
    let (counters, capacity) = (region.counters(), region.layout().capacity);
    let mut told = [(0, 0); BLOCK];
    for chunk in entries.chunks(BLOCK) {
        let mut len = 0;
        for entry in chunk {
            let edge = entry.load(Ordering::Relaxed);
            if !is_ours(edge) {
                continue;
            }
            debug_assert!(edge < capacity);
            // SAFETY: the edge lies in a range of the plan, which was clamped to the capacity.
            let count = unsafe { counters.add(edge as usize).replace(0) };
            told[len] = (edge, class::of_count(count));
            len += usize::from(count != 0);
        }
        hits(&told[..len]);
    }
}

/// # Safety
/// `range` is a plan's, of a region no larger than this one; limits and `hit` as for
/// [`Plan::drain_above`].
#[inline]
unsafe fn sweep(
    isa: Isa,
    region: &Region,
    limits: Option<*const u8>,
    range: &Range<u32>,
    how: How,
    mut hit: impl FnMut(u32, u8),
) {
    // SAFETY: the caller's word; limits have a byte for every edge of the region.
    unsafe {
        let limits = limits.map(|limits| limits.add(range.start as usize));
        let stretch = Stretch { limits, ..stretch(region, range, how) };
        lanes::sweep(isa, stretch, |i, count| hit(range.start + i as u32, count));
    }
}

/// # Safety
/// `range` is a plan's, of a region no larger than this one.
#[inline]
unsafe fn sweep_blocks(region: &Region, range: &Range<u32>, how: How, blocks: &mut Blocks) {
    // SAFETY: the caller's word.
    unsafe {
        let stretch = stretch(region, range, how);
        lanes::sweep_blocks(Isa::best(), stretch, range.start, blocks);
    }
}

/// # Safety
/// `range` is a plan's, of a region no larger than this one: it was clamped to the capacity. It starts
/// at a page and a capacity is a number of pages, so whole blocks of it lie within the planes too.
#[inline]
unsafe fn stretch(region: &Region, range: &Range<u32>, how: How) -> Stretch {
    let (start, len) = (range.start as usize, range.len());
    debug_assert!(start.is_multiple_of(BLOCK));
    debug_assert!(start + len.next_multiple_of(BLOCK) <= region.layout().capacity as usize);
    // SAFETY: the caller's word.
    let (counters, flags) = unsafe { (region.counters().add(start), region.flags().add(start)) };
    Stretch { counters, flags, limits: None, len, how }
}

/// # Safety
/// `plane` has a readable byte for every edge of `range`.
unsafe fn peek_at(plane: *const u8, range: &Range<u32>, touched: &mut impl FnMut(u32)) {
    const WORD: u32 = size_of::<u64>() as u32;
    let mut edge = range.start;
    while edge < range.end {
        let end = (edge + WORD).min(range.end);
        // SAFETY: the caller's word; a word is read only when all of it is in the range.
        unsafe {
            if end - edge < WORD || plane.add(edge as usize).cast::<u64>().read_unaligned() != 0 {
                (edge..end).filter(|edge| plane.add(*edge as usize).read_volatile() != 0).for_each(&mut *touched);
            }
        }
        edge = end;
    }
}

/// Whether any library must be carried over by the process itself.
pub fn has_in_place(modules: &[Module]) -> bool {
    modules.iter().any(|m| m.kind & IN_PLACE != 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::modules;
    use proptest::prelude::*;

    fn module(kind: u32, edges: u32) -> Module {
        let identity = Identity::new(&[kind as u8, edges as u8, (edges >> 8) as u8]);
        Module { identity, path: String::new(), kind, base: 0, edges, load_bias: 0, pc_table: 0 }
    }

    pub(crate) fn region_with(kinds: &[(u32, u32)]) -> (Region, Vec<Module>) {
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
    pub(crate) fn hit(region: &Region, module: &Module, local: u32) {
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
    fn a_count_without_an_entry_is_found_once_the_journal_is_distrusted() {
        let (region, all) = region_with(&[(GUARDS, 100)]);
        let plan = Plan::of(&all, region.layout().capacity);
        // SAFETY: the edge is the library's.
        unsafe { *region.counters().add(4096 + 5) = 6 };
        assert_eq!(drained(&plan, &region), []);
        region.distrust_journal();
        (10..20).for_each(|local| hit(&region, &all[0], local));
        assert_eq!(drained(&plan, &region).len(), 11);
        hit(&region, &all[0], 5);
        assert_eq!(drained(&plan, &region), [(4096 + 5, 1)]);
    }

    #[test]
    fn a_peek_goes_on_where_the_last_one_stood() {
        let (region, all) = region_with(&[(GUARDS, 100)]);
        let plan = Plan::of(&all, region.layout().capacity);
        let peeked = |from| {
            let mut found = Vec::new();
            let len = plan.peek(&region, from, |edge| found.push(edge));
            (found, len)
        };
        hit(&region, &all[0], 5);
        assert_eq!(peeked(0), (vec![4096 + 5], 1));
        hit(&region, &all[0], 5);
        hit(&region, &all[0], 7);
        assert_eq!(peeked(1), (vec![4096 + 7], 2));
        assert_eq!(peeked(9).0, []);
        region.header().journal_len.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(peeked(2).0, [4096 + 5, 4096 + 7]);
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
            let mut peeked = Vec::new();
            plan.peek(&region, 0, |edge| peeked.push(edge));
            peeked.sort_unstable();
            prop_assert_eq!(peeked, counts.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(drained(&plan, &region), expect);
            prop_assert_eq!(drained(&plan, &region), vec![]);
        }

        #[test]
        fn blocks_tell_what_single_edges_do(
            hits in prop::collection::vec((0usize..4, 0u32..1000), 0..2000), overflow: bool,
        ) {
            let kinds = [(COUNTERS | FLAGS, 1000), (COUNTERS, 1000), (FLAGS, 1000), (GUARDS, 1000)];
            let (one, all) = region_with(&kinds);
            let (other, _) = region_with(&kinds);
            for region in [&one, &other] {
                hits.iter().for_each(|(which, local)| hit(region, &all[*which], *local));
                if overflow {
                    region.header().journal_len.store(u32::MAX, Ordering::Relaxed);
                }
            }
            let plan = Plan::of(&all, one.layout().capacity);
            let (mut told, mut blocks) = (Vec::new(), Blocks::default());
            plan.drain_blocks(&other, &mut blocks, |hits| told.extend_from_slice(hits));
            for (first, classes) in blocks.iter() {
                let touched = classes.iter().enumerate().filter(|(_, class)| **class != 0);
                told.extend(touched.map(|(i, class)| (first + i as u32, *class)));
            }
            told.sort_unstable();
            prop_assert_eq!(told, drained(&plan, &one));
            prop_assert_eq!(drained(&plan, &other), vec![]);
        }
    }
}
