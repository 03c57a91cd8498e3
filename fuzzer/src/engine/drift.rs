//! Entries that owe what they touch to the inputs before them.
//!
//! A child lives through many inputs, and a library may remember them. Each entry is run once in a fresh
//! child, one now and then: what it does not touch there drifts. The entry stays. What only the fresh
//! child touched is no sign: the first call sets a library up.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use libafl::corpus::{Corpus, CorpusId};

use hitmap_observers::observer::Hit;

/// Executions between two looks, when time may not decide: a fork costs some milliseconds.
const EVERY: u64 = 50_000;
/// A look is one part in so many of the time, when time may decide.
const SHARE: u32 = 50;

/// Which entry is looked at next, and when.
#[derive(Debug)]
pub struct Drift {
    by_time: bool,
    last: Option<CorpusId>,
    next_at: u64,
    rest_until: Instant,
}

impl Drift {
    /// Begins with the first entry. With `by_time`, looks take a small share of the time; else they come
    /// at fixed numbers of executions.
    pub fn new(by_time: bool) -> Drift {
        Drift { by_time, last: None, next_at: EVERY, rest_until: Instant::now() }
    }

    /// The entry that is to be run in a fresh child now.
    pub fn due<I>(&mut self, corpus: &impl Corpus<I>, execs: u64) -> Option<CorpusId> {
        let is_time = if self.by_time { Instant::now() >= self.rest_until } else { execs >= self.next_at };
        if !is_time {
            return None;
        }
        let next = self.last.map_or_else(|| corpus.first(), |last| corpus.next(last))?;
        self.last = Some(next);
        self.next_at = execs + EVERY;
        Some(next)
    }

    /// A look took so long.
    pub fn took(&mut self, time: Duration) {
        self.rest_until = Instant::now() + time * SHARE;
    }
}

/// Edges that `kept` has and `fresh` lacks, whatever the class.
pub fn lost(kept: &[Hit], fresh: &[Hit]) -> Vec<u32> {
    let fresh: HashSet<u32> = fresh.iter().map(|(edge, _)| *edge).collect();
    kept.iter().map(|(edge, _)| *edge).filter(|edge| !fresh.contains(edge)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_that_a_fresh_child_lacks_is_lost() {
        assert_eq!(lost(&[(5, 1), (6, 1), (7, 2)], &[(5, 4), (7, 2), (8, 1)]), [6]);
        assert!(lost(&[], &[(5, 1)]).is_empty());
    }
}
