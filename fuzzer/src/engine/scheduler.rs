//! Which testcase is mutated next: AFL's favoured-entry queue.
//!
//! For every edge the cheapest testcase that touches it is remembered; a small set of those that
//! covers every edge is favoured. The queue is walked in order; what is not favoured is mostly
//! skipped (the odds are AFL's).
//!
//! Why not LibAFL's `MinimizerScheduler`: it walks a `HashMap` with a random hasher, so two runs with
//! the same seed favour different entries, it never takes the favour back, and it looks at the whole
//! map before every pick (the row `engine-schedule` of `benches/`). Cost is measured in bytes and
//! edges, not in nanoseconds, for the same reason.

use std::collections::BTreeMap;

use libafl::corpus::{Corpus, CorpusId};
use libafl::inputs::{BytesInput, HasMutatorBytes};
use libafl::schedulers::Scheduler;
use libafl::state::{HasCorpus, HasRand};
use libafl::{Error, HasMetadata};
use libafl_bolts::rands::Rand;

use hitmap_observers::feedback::TouchedMetadata;

use super::State;

/// Odds of skipping, as AFL has them.
mod skip {
    /// An entry that is not favoured or was fuzzed, while favoured ones wait for their first turn.
    pub const WHILE_FAVOURED_WAIT: f64 = 0.99;
    /// An entry that is not favoured and was fuzzed before.
    pub const FUZZED: f64 = 0.95;
    /// An entry that is not favoured and was never fuzzed.
    pub const FRESH: f64 = 0.75;
}

#[derive(Clone, Copy, Debug)]
struct Best {
    entry: usize,
    cost: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    id: CorpusId,
    edges: Vec<u32>,
    favoured: bool,
    fuzzed: bool,
    /// Visits in a row that brought nothing.
    barren: u32,
}

/// What a visit to an entry depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It belongs to the small set that covers every edge.
    pub favoured: bool,
    /// It had its turn before.
    pub fuzzed: bool,
    /// Visits in a row that brought nothing.
    pub barren: u32,
}

/// Walks the queue, preferring a small set that covers every edge.
#[derive(Debug, Default)]
pub struct FavouredScheduler {
    entries: Vec<Entry>,
    best: BTreeMap<u32, Best>,
    stale: bool,
    cursor: usize,
    waiting: usize,
    cycles: u64,
}

impl FavouredScheduler {
    /// A scheduler of an empty corpus.
    pub fn new() -> FavouredScheduler {
        FavouredScheduler::default()
    }

    /// How often the whole queue was walked.
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// Entries in the favoured set.
    pub fn favoured(&self) -> usize {
        self.entries.iter().filter(|e| e.favoured).count()
    }

    /// Favoured entries that wait for their first turn, and all that do.
    pub fn pending(&self) -> (usize, usize) {
        (self.waiting, self.entries.iter().filter(|e| !e.fuzzed).count())
    }

    /// What a visit to the entry depends on.
    pub fn standing(&self, id: CorpusId) -> Standing {
        let entry = self.entries.iter().rfind(|e| e.id == id);
        entry.map_or_else(Standing::default, |e| Standing { favoured: e.favoured, fuzzed: e.fuzzed, barren: e.barren })
    }

    /// The entry's turn is over; `brought` says whether it added to the corpus.
    pub fn mark_fuzzed(&mut self, id: CorpusId, brought: bool) {
        if let Some(entry) = self.entries.iter_mut().rfind(|e| e.id == id) {
            if entry.favoured && !entry.fuzzed {
                self.waiting = self.waiting.saturating_sub(1);
            }
            entry.fuzzed = true;
            entry.barren = if brought { 0 } else { entry.barren + 1 };
        }
    }

    fn choose_favoured(&mut self) {
        // Whatever an entry touches has a best entry, so this is as long as any edge asks for. A hash set
        // took ten times as long: milliseconds after each visit that brought something.
        let mut covered = vec![false; self.best.last_key_value().map_or(0, |(edge, _)| *edge as usize + 1)];
        self.entries.iter_mut().for_each(|e| e.favoured = false);
        for (edge, best) in &self.best {
            if !covered[*edge as usize] {
                let entry = &mut self.entries[best.entry];
                entry.favoured = true;
                entry.edges.iter().for_each(|edge| covered[*edge as usize] = true);
            }
        }
        self.waiting = self.entries.iter().filter(|e| e.favoured && !e.fuzzed).count();
        self.stale = false;
    }

    fn odds_of_skipping(&self, entry: &Entry) -> f64 {
        match (entry.favoured, entry.fuzzed) {
            (true, false) => 0.0,
            _ if self.waiting > 0 => skip::WHILE_FAVOURED_WAIT,
            (true, true) => 0.0,
            (false, true) => skip::FUZZED,
            (false, false) => skip::FRESH,
        }
    }
}

impl Scheduler<BytesInput, State> for FavouredScheduler {
    fn on_add(&mut self, state: &mut State, id: CorpusId) -> Result<(), Error> {
        let current = *state.corpus().current();
        let mut testcase = state.corpus().get(id)?.borrow_mut();
        testcase.set_parent_id_optional(current);
        let edges: Vec<u32> = testcase
            .metadata::<TouchedMetadata>()
            .map(|touched| touched.hits.iter().map(|(edge, _)| *edge).collect())
            .unwrap_or_default();
        let len = testcase.input().as_ref().map_or(0, |input| input.mutator_bytes().len());
        let cost = (len as u64 + 16) * (edges.len() as u64 + 16);
        let entry = self.entries.len();
        for edge in &edges {
            let best = self.best.entry(*edge).or_insert(Best { entry, cost: u64::MAX });
            if cost < best.cost {
                *best = Best { entry, cost };
            }
        }
        self.entries.push(Entry { id, edges, favoured: false, fuzzed: false, barren: 0 });
        self.stale = true;
        Ok(())
    }

    fn next(&mut self, state: &mut State) -> Result<CorpusId, Error> {
        if self.entries.is_empty() {
            return Err(Error::empty("the corpus is empty"));
        }
        if self.stale {
            self.choose_favoured();
        }
        loop {
            if self.cursor == self.entries.len() {
                self.cursor = 0;
                self.cycles += 1;
            }
            let entry = &self.entries[self.cursor];
            self.cursor += 1;
            let odds = self.odds_of_skipping(entry);
            if odds == 0.0 || !state.rand_mut().coinflip(odds) {
                let id = entry.id;
                self.set_current_scheduled(state, Some(id))?;
                return Ok(id);
            }
        }
    }

    fn set_current_scheduled(&mut self, state: &mut State, next: Option<CorpusId>) -> Result<(), Error> {
        *state.corpus_mut().current_mut() = next;
        Ok(())
    }
}
