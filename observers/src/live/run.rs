//! What one run touched: sparse, and dense when somebody asks.
//!
//! A journal tells single edges, a sweep tells blocks of 64. Both are kept as they come, so that a run
//! costs what it touched. LibAFL's own parts want one byte an edge: that plane is filled when it is
//! first looked at, and only what was filled is cleared for the next run.

use std::cell::{OnceCell, RefCell};

use hitmap_wire::class::Class;
use hitmap_wire::sweep::{BLOCK, Blocks};

use crate::history::History;
use crate::observer::Hit;

/// The edges of one run with their classes, each once.
#[derive(Debug, Default)]
pub struct Run {
    hits: Vec<Hit>,
    blocks: Blocks,
    /// One byte an edge of the map, once somebody asked.
    dense: OnceCell<Vec<Class>>,
    /// The plane of an earlier run, all zero.
    spare: RefCell<Vec<Class>>,
    /// Edges of the map.
    len: usize,
}

impl Run {
    /// A run of a map of `len` edges, from single hits. Hits outside of the map are dropped.
    pub fn from_hits(hits: Vec<Hit>, len: usize) -> Run {
        let mut run = Run { hits, len, ..Run::default() };
        run.hits.retain(|(edge, _)| (*edge as usize) < len);
        run
    }

    /// Forgets the run, at the cost of what it touched.
    pub(super) fn clear(&mut self) {
        if let Some(mut dense) = self.dense.take() {
            self.hits.iter().for_each(|(edge, _)| dense[*edge as usize] = 0);
            self.blocks.iter().for_each(|(first, _)| dense[first as usize..][..BLOCK].fill(0));
            self.spare.replace(dense);
        }
        self.hits.clear();
        self.blocks.clear();
    }

    /// The map has this many edges now.
    pub(super) fn set_len(&mut self, len: usize) {
        debug_assert!(self.dense.get().is_none(), "a run that was looked at is over");
        self.len = len;
    }

    /// Where a reader of the map puts blocks and single edges, all of which must lie in the map.
    pub(super) fn parts(&mut self) -> (&mut Blocks, &mut Vec<Hit>) {
        (&mut self.blocks, &mut self.hits)
    }

    /// Edges of the map, touched or not.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty() && self.blocks.is_empty()
    }

    /// Every edge that was touched, in no promised order.
    pub fn hits(&self) -> impl Iterator<Item = Hit> {
        let in_blocks = self.blocks.iter().flat_map(|(first, classes)| {
            let touched = classes.iter().enumerate().filter(|(_, class)| **class != 0);
            touched.map(move |(i, class)| (first + i as u32, *class))
        });
        self.hits.iter().copied().filter(|(_, class)| *class != 0).chain(in_blocks)
    }

    /// The class of an edge; 0 when it was not touched.
    pub fn class(&self, edge: usize) -> Class {
        self.classes().get(edge).copied().unwrap_or(0)
    }

    /// One class an edge of the map.
    pub fn classes(&self) -> &[Class] {
        let dense = self.dense.get_or_init(|| {
            let mut dense = self.spare.take();
            dense.resize(self.len.max(dense.len()), 0);
            self.hits.iter().for_each(|(edge, class)| dense[*edge as usize] = *class);
            self.blocks.iter().for_each(|(first, block)| dense[first as usize..][..BLOCK].copy_from_slice(block));
            dense
        });
        &dense[..self.len]
    }

    /// Says that an edge has this class. Edges outside of the map are ignored.
    pub fn set(&mut self, edge: usize, class: Class) {
        if edge >= self.len {
            return;
        }
        let (number, at) = (edge as u32, edge % BLOCK);
        let old = self.hits.iter_mut().find(|(known, _)| *known == number).map(|(_, class)| class);
        let block = self.blocks.iter_mut().find(|(first, _)| *first as usize == edge - at);
        match old.or(block.map(|(_, classes)| &mut classes[at])) {
            Some(old) => *old = class,
            None => self.hits.push((number, class)),
        }
        if let Some(dense) = self.dense.get_mut() {
            dense[edge] = class;
        }
    }

    /// Whether an edge is above the history.
    #[inline]
    pub fn is_novel(&self, history: &History) -> bool {
        let known = history.classes();
        let alone = |(edge, class): &Hit| known.get(*edge as usize).is_some_and(|known| class > known);
        self.hits.iter().any(alone) || self.blocks.is_any_above(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn run(hits: &[Hit], blocks: &[(u32, &[(usize, Class)])]) -> Run {
        let mut run = Run::default();
        run.set_len(4096);
        let (of_blocks, of_hits) = run.parts();
        of_hits.extend_from_slice(hits);
        for (first, touched) in blocks {
            let mut classes = [0; BLOCK];
            touched.iter().for_each(|(at, class)| classes[*at] = *class);
            of_blocks.push(*first, classes);
        }
        run
    }

    #[test]
    fn sparse_and_dense_say_the_same() {
        let mut run = run(&[(4, 1), (4000, 128)], &[(64, &[(0, 2), (63, 8)])]);
        let expect = BTreeMap::from([(4, 1), (64, 2), (127, 8), (4000, 128)]);
        let sparse: BTreeMap<_, _> = run.hits().collect();
        assert_eq!(sparse, expect);
        for round in 0..2 {
            let dense = run.classes().iter().enumerate().filter(|(_, class)| **class != 0);
            let dense: BTreeMap<_, _> = dense.map(|(edge, class)| (edge as u32, *class)).collect();
            assert_eq!(dense, if round == 0 { expect.clone() } else { BTreeMap::new() });
            run.clear();
        }
    }

    #[test]
    fn a_map_that_grew_shows_its_new_edges() {
        let mut run = run(&[(4, 1)], &[]);
        assert_eq!(run.classes().len(), 4096);
        run.clear();
        run.set_len(8192);
        run.parts().1.push((8191, 1));
        assert_eq!((run.classes().len(), run.class(8191), run.class(4)), (8192, 1, 0));
    }

    #[test]
    fn what_is_set_is_seen_both_ways() {
        let mut run = run(&[(4, 1)], &[(64, &[(1, 2)])]);
        for look in [false, true] {
            for (edge, class) in [(4, 16), (65, 32), (66, 4), (2000, 1), (9999, 1)] {
                run.set(edge, class);
            }
            assert_eq!(run.hits().count(), 4, "looked at: {look}");
            if look {
                assert_eq!((run.class(4), run.class(65), run.class(66), run.class(2000)), (16, 32, 4, 1));
            }
            let _ = run.classes();
        }
    }

    #[test]
    fn novelty_is_a_class_above_the_history() {
        let mut history = History::new(4096).unwrap();
        history.raise(4, 2);
        history.raise(100, 8);
        for (run, novel) in [
            (run(&[(4, 2)], &[(64, &[(36, 8)])]), false),
            (run(&[(4, 4)], &[]), true),
            (run(&[(5, 1)], &[]), true),
            (run(&[], &[(64, &[(36, 16)])]), true),
            (run(&[], &[(64, &[(36, 1), (37, 1)])]), true),
            (run(&[], &[]), false),
        ] {
            assert_eq!(run.is_novel(&history), novel, "{:?}", run.hits().collect::<Vec<_>>());
        }
    }
}
