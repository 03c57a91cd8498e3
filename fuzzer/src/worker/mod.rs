//! The engine's side of a worker: start it, hand it inputs, read what became of them.
//!
//! [`Worker`] is all that the engine knows of a target. [`process`] is the real one, a Python fork
//! server; tests use one that runs a Rust closure. Of a worker nothing is trusted.

pub mod child;
pub mod files;
pub mod growth;
pub mod late;
pub mod limits;
pub mod looks;
#[cfg(test)]
pub mod mock;
pub mod process;
pub mod server;
pub mod table;

use hitmap_observers::observer::Hit;
use hitmap_wire::batch::making::Maker;
use hitmap_wire::batch::notes::{Death, FROM_OUTSIDE, Sample};
use hitmap_wire::batch::{RECORD_RAISED, RECORD_TEXT, RECORD_THROWN, RECORD_TYPE, Record};
use hitmap_wire::comparisons::Comparison;
use hitmap_wire::identity::Loaded;
use hitmap_wire::modules::{Module, Refusal};
use hitmap_wire::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// What became of an input that is a finding, or may be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What became of it.
    pub outcome: Outcome,
    /// A hash of where it happened, cheap and exact: raw addresses, or Python frames.
    pub raw: u64,
    /// The signal that ended the child.
    pub signal: Option<i32>,
    /// The exit code of a child that ended itself.
    pub exit_code: Option<i32>,
    /// What the child's handlers left of its end.
    pub death: Option<Death>,
    /// The exception that Python code would have seen.
    pub exception: Option<Raised>,
    /// Looks at a run that took too long, in their order.
    pub samples: Vec<Sample>,
    /// What the child had loaded, to name addresses; empty when this raw hash was told before.
    pub objects: Vec<Loaded>,
    /// What was written to standard error, Python's stack at a crash among it; empty when this raw hash was
    /// told before. In a batch, earlier inputs may have written the first part.
    pub log: String,
}

/// A Python exception that ended a run, as far as the child described it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    /// What the worker describes: [`crate::finding::python::of_report`] reads it.
    pub text: String,
    /// The native stack where the exception was made; empty when that is not known.
    pub raised: Vec<u64>,
    /// The native stack of the C++ throw that it translates; empty when it translates none.
    pub thrown: Vec<u64>,
    /// The mangled name of the C++ type that was thrown.
    pub thrown_type: String,
}

impl Raised {
    /// From what a child said of the input in `slot`; `None` when it said nothing of it.
    pub fn of_records(records: &[Record], slot: usize) -> Option<Raised> {
        let find = |kind: u32| records.iter().find(|record| record.slot == slot && record.kind == kind);
        let addresses = |kind: u32| find(kind).map(Record::addresses).unwrap_or_default();
        Some(Raised {
            text: find(RECORD_TEXT)?.text(),
            raised: addresses(RECORD_RAISED),
            thrown: addresses(RECORD_THROWN),
            thrown_type: find(RECORD_TYPE).map(Record::text).unwrap_or_default(),
        })
    }
}

impl Evidence {
    /// Evidence of which nothing else is known.
    pub fn bare(outcome: Outcome, raw: u64) -> Evidence {
        Evidence {
            outcome,
            raw,
            signal: None,
            exit_code: None,
            death: None,
            exception: None,
            samples: Vec::new(),
            objects: Vec::new(),
            log: String::new(),
        }
    }

    /// Whether another process ended the child, such as the kernel when memory is short. That says nothing of
    /// the input, unless it comes back. Nobody sees who sends SIGKILL, and no target needs it to end itself.
    pub fn is_from_outside(&self) -> bool {
        let noted = self.death.as_ref().map(|death| death.has(FROM_OUTSIDE));
        self.outcome == Outcome::Signal && noted.unwrap_or(self.signal == Some(libc::SIGKILL))
    }
}

/// What a batch said of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing new.
    Boring,
    /// It touched something that the history did not have when the batch began.
    Novel {
        /// The first such edge.
        hit: Hit,
        /// A hash of all of them: inputs with the same hash bring the same.
        set: u64,
    },
    /// It is a finding.
    Finding(Box<Evidence>),
}

/// One input run alone, and all that it touched.
#[derive(Clone, Debug)]
pub struct Observation {
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took, in nanoseconds; 0 when the child died.
    pub nanos: u64,
    /// Set for findings.
    pub evidence: Option<Box<Evidence>>,
}

/// What a worker has done since it was started. Every number only grows, so that two of these say what
/// was done in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Inputs run in batches.
    pub runs: u64,
    /// Inputs run alone, and observed.
    pub alone: u64,
    /// Inputs of batches that were rejected.
    pub rejected: u64,
    /// Inputs of batches that were findings and did not end the child.
    pub raised: u64,
    /// Inputs of batches that ended the child.
    pub died: u64,
    /// Of these, how many hung as others did before, and were ended before their time limit.
    pub cut: u64,
    /// Children that were forked.
    pub children: u64,
    /// Nanoseconds that findings took: the run, the last words, and the fork after it.
    pub finding_nanos: u64,
    /// Nanoseconds that batches waited for a child to be forked.
    pub fork_nanos: u64,
    /// Of inputs that were timed: nanoseconds in the harness.
    pub harness_nanos: u64,
    /// Of inputs that were timed: nanoseconds of reading the map.
    pub map_nanos: u64,
    /// How children used the time that they had.
    pub watched: Watched,
}

/// How children used their time, in nanoseconds, while they were watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// While they had inputs to run.
    pub busy: u64,
    /// They and what they started ran on a processor.
    pub cpu: u64,
    /// They waited for a processor.
    pub queued: u64,
}

impl Tally {
    /// What was done since `then`.
    pub fn since(&self, then: &Tally) -> Tally {
        let less = |now: u64, then: u64| now.saturating_sub(then);
        Tally {
            runs: less(self.runs, then.runs),
            alone: less(self.alone, then.alone),
            rejected: less(self.rejected, then.rejected),
            raised: less(self.raised, then.raised),
            died: less(self.died, then.died),
            cut: less(self.cut, then.cut),
            children: less(self.children, then.children),
            finding_nanos: less(self.finding_nanos, then.finding_nanos),
            fork_nanos: less(self.fork_nanos, then.fork_nanos),
            harness_nanos: less(self.harness_nanos, then.harness_nanos),
            map_nanos: less(self.map_nanos, then.map_nanos),
            watched: Watched {
                busy: less(self.watched.busy, then.watched.busy),
                cpu: less(self.watched.cpu, then.watched.cpu),
                queued: less(self.watched.queued, then.watched.queued),
            },
        }
    }
}

/// Why a worker cannot go on. Everything that a target can do to itself is an outcome, not this.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The harness cannot be used; the text says why and what to do.
    #[error("{0}")]
    Harness(String),
    /// A library does not fit into the map.
    #[error("{name}: {refusal}")]
    MapFull {
        /// The library's file.
        name: String,
        /// What is missing.
        refusal: Refusal,
    },
    /// A library that the campaign cannot count; the text says which, why and what to do.
    #[error("{0}")]
    OtherBuild(String),
    /// The worker does something that it never should.
    #[error("the worker {0}")]
    Broken(String),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}

impl WorkerError {
    /// Wraps an operating system error with what was tried.
    pub fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> WorkerError {
        move |source| WorkerError::System { what, source }
    }
}

/// The functions by which a harness makes inputs itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Makers {
    /// It changes inputs.
    pub mutator: bool,
    /// It makes one of two.
    pub crossover: bool,
    /// It makes inputs of nothing.
    pub generator: bool,
    /// It decodes inputs, so changed bytes are mostly no input at all.
    pub decodes: bool,
}

impl Makers {
    /// Whether the harness alone changes inputs: changed bytes would mostly not decode.
    pub fn replace_chance(&self) -> bool {
        self.decodes && self.mutator
    }
}

/// An input that the harness is to make.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// By which function.
    pub maker: Maker,
    /// The seed of its chance.
    pub seed: u32,
    /// The input to change; empty for a generator.
    pub first: &'a [u8],
    /// The other parent of a crossover.
    pub second: &'a [u8],
}

/// What came of a [`Wish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// The input.
    Input(Vec<u8>),
    /// A parent is nothing that the harness decodes.
    Undecodable,
    /// The harness's function failed.
    Failed(Miss),
}

/// How a function of the harness failed to make an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// One line: which function, what it did, where.
    pub headline: String,
    /// Traceback or stack, as far as there is one.
    pub details: String,
}

/// A target that runs inputs.
pub trait Worker {
    /// Runs inputs from the first on, as many as it sees fit but at least one, and says of each what
    /// it saw. A finding that ends the child ends the batch. `seen` is replaced; its length tells
    /// how many ran.
    ///
    /// # Errors
    /// See [`WorkerError`].
    fn run(&mut self, inputs: &[&[u8]], seen: &mut Vec<Seen>) -> Result<(), WorkerError>;

    /// Runs one input alone, in a new child when `fresh`, and puts all that it touched into `hits`.
    ///
    /// # Errors
    /// See [`WorkerError`].
    fn observe(&mut self, input: &[u8], fresh: bool, hits: &mut Vec<Hit>) -> Result<Observation, WorkerError>;

    /// A finding is kept: one like it may be ended as soon as it is recognised.
    fn learn(&mut self, _finding: &Evidence) {}

    /// The functions by which the harness makes inputs.
    fn makers(&self) -> Makers {
        Makers::default()
    }

    /// Has the harness make inputs of at most `max_len` bytes, from the first wish on, as many as it sees
    /// fit but at least one. `made` is replaced; its length tells how many wishes were answered.
    ///
    /// # Errors
    /// See [`WorkerError`].
    fn make(&mut self, wishes: &[Wish<'_>], max_len: usize, made: &mut Vec<Made>) -> Result<(), WorkerError>;

    /// The libraries that have been seen so far, in order of their numbers.
    fn modules(&self) -> &[Module];

    /// What an input takes lately; 0 when that is not known. Only for what may depend on time.
    fn nanos_per_run(&self) -> f64 {
        0.0
    }

    /// What it has done so far.
    fn tally(&self) -> Tally {
        Tally::default()
    }

    /// How the memory of a child grew that ran long enough to tell.
    fn growth(&self) -> Option<growth::Growth> {
        None
    }

    /// Threads that were alive when the harness had been imported, besides the main one.
    fn threads(&self) -> u64 {
        0
    }
}

/// One input run alone in a comparison build.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What became of it.
    pub outcome: Outcome,
    /// A hash of the edges that it touched and how often.
    pub path: u64,
    /// What the target compared, in order; empty when that was not asked for.
    pub log: Vec<Comparison>,
}

/// A target that tells what it compares. Its edges are its own: no other worker's, no history's.
pub trait Tracer {
    /// Runs one input; `log` says whether what it compares is wanted.
    ///
    /// # Errors
    /// See [`WorkerError`].
    fn trace(&mut self, input: &[u8], log: bool) -> Result<Trace, WorkerError>;
}
