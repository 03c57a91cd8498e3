//! Where an engine's time goes, for `hitmap bench`. An engine that nobody asks looks at no clock.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::worker::Tally;

/// Time that one engine's parts took. What none of them took is the schedule's and the disk's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// All of it.
    pub all: Duration,
    /// Finding out what the target compares, in a worker of its own.
    pub comparisons: Duration,
    /// Making mutants.
    pub mutation: Duration,
    /// Handing batches over and waiting for them, the harness and the map among it.
    pub batches: Duration,
    /// Acting on verdicts: running again what is new, and keeping it.
    pub judging: Duration,
}

/// The parts of a visit, in their order.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// [`Spent::comparisons`]
    Comparisons,
    /// [`Spent::mutation`]
    Mutation,
    /// [`Spent::batches`]
    Batches,
    /// [`Spent::judging`]
    Judging,
}

/// Adds up parts, from the first `begin` on.
#[derive(Debug)]
pub struct Stopwatch {
    began: Instant,
    last: Instant,
    spent: Spent,
}

impl Stopwatch {
    /// One that runs from now on.
    pub fn start() -> Stopwatch {
        let now = Instant::now();
        Stopwatch { began: now, last: now, spent: Spent::default() }
    }

    /// A visit begins.
    pub fn begin(&mut self) {
        self.last = Instant::now();
    }

    /// A part of a visit is over.
    pub fn lap(&mut self, part: Part) {
        let now = Instant::now();
        let sum = match part {
            Part::Comparisons => &mut self.spent.comparisons,
            Part::Mutation => &mut self.spent.mutation,
            Part::Batches => &mut self.spent.batches,
            Part::Judging => &mut self.spent.judging,
        };
        *sum += now - self.last;
        self.last = now;
    }

    /// What was spent so far.
    pub fn read(&self) -> Spent {
        Spent { all: self.began.elapsed(), ..self.spent }
    }
}

/// What a bench tells: the time, what was done in it, and how the map is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// The engine's time.
    pub spent: Spent,
    /// What its worker did in it.
    pub tally: Tally,
    /// Inputs that were kept in it.
    pub kept: u64,
    /// Edges that are swept after each run.
    pub swept: u64,
    /// Edges that have a journal.
    pub journalled: u64,
}
