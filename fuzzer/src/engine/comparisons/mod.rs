//! Input-to-state replacement: what a **comparison build** of the target tells of an entry becomes the
//! first mutants of a visit to it.
//!
//! Owns the worker that runs that build, and what was found and did not fit into a visit. The build's
//! edges are its own: nothing of them reaches history, queue or a saved map. In the order of the data:
//! [`colour`] makes the input random where the target does not mind, [`replace`] holds both runs
//! against each other in the forms of [`encode`], [`constants`] picks out what makes a token.
//!
//! What it decides follows from the entry, the generator and the target: not from addresses, and not
//! from time unless the campaign has no budget in executions.

pub mod colour;
pub mod constants;
pub mod encode;
pub mod replace;

use std::collections::{HashMap, VecDeque};

use libafl::Error;
use libafl::corpus::CorpusId;
use libafl_bolts::rands::Rand;

use super::scheduler::Standing;
use crate::worker::{Trace, Tracer, WorkerError};
use replace::{Patch, Run};

/// Mutants of one visit that come from here. The rest waits for the next one.
pub const PATCHES: usize = 2048;
/// Runs that colouring one input takes at the most. AFL++ allows twice the input's length, which at
/// 4 KiB is more than a visit; halves of the first 256 bytes are reached with this.
const COLOURING: usize = 256;
/// An entry is looked at again after so many visits in a row that brought nothing: other bytes have
/// other numbers in them.
const AGAIN: u32 = 64;
/// Entries that compared nothing, from the first on, before the worker is given up: the build belongs
/// to a library that this harness does not use.
const SILENT: u32 = 8;
/// Inputs by which colouring killed the comparison build that the ordinary one gets to run, too, before
/// all replacements: what goes wrong only there is not of interest, and each costs a child.
const KILLERS: usize = 4;
/// How long looking at one entry may take, in nanoseconds, when time may decide at all.
const LONGEST: f64 = 2.5e8;

/// Starts the comparison worker, or finishes starting it.
pub type Start = Box<dyn FnOnce() -> Result<Box<dyn Tracer>, WorkerError>>;

enum Source {
    Absent,
    Waiting(Start),
    Ready(Box<dyn Tracer>),
}

/// What was found in one look.
#[derive(Debug, Default)]
pub struct Look {
    /// Runs that it took.
    pub runs: u64,
    /// Constants that the target compared something with.
    pub tokens: Vec<Vec<u8>>,
    /// Why there will be no further look.
    pub note: Option<String>,
}

/// Entries' replacements, and the worker that they come from.
pub struct Replacing {
    source: Source,
    /// What is left to try of every entry that was looked at.
    waiting: HashMap<CorpusId, VecDeque<Patch>>,
    silent: u32,
}

impl Replacing {
    /// No comparison build: every look finds nothing.
    pub fn absent() -> Replacing {
        Replacing { source: Source::Absent, waiting: HashMap::new(), silent: 0 }
    }

    /// Looks through the worker that `start` gives; it is called at the first look.
    pub fn new(start: Start) -> Replacing {
        Replacing { source: Source::Waiting(start), ..Replacing::absent() }
    }

    /// Looks at an entry when it is its time. A run takes about `pace` nanoseconds; 0 when time may not
    /// decide.
    ///
    /// # Errors
    /// None of the worker's own: a campaign goes on without one. Those of colouring.
    pub fn look(
        &mut self,
        id: CorpusId,
        input: &[u8],
        standing: Standing,
        rand: &mut impl Rand,
        pace: f64,
    ) -> Result<Look, Error> {
        let is_time = match self.waiting.get(&id) {
            None => true,
            Some(waiting) => waiting.is_empty() && standing.barren > 0 && standing.barren.is_multiple_of(AGAIN),
        };
        let mut look = Look::default();
        if !is_time || matches!(self.source, Source::Absent) || input.is_empty() {
            return Ok(look);
        }
        match self.try_look(id, input, rand, pace, &mut look) {
            Ok(()) => {}
            Err(Stopped::Worker(error)) => {
                self.source = Source::Absent;
                look.note = Some(format!("fuzzing goes on without what the target compares: {error}"));
            }
            Err(Stopped::Engine(error)) => return Err(error),
        }
        Ok(look)
    }

    fn try_look(
        &mut self,
        id: CorpusId,
        input: &[u8],
        rand: &mut impl Rand,
        pace: f64,
        look: &mut Look,
    ) -> Result<(), Stopped> {
        let tracer = self.source.tracer()?;
        let mut trace = |input: &[u8], log: bool| -> Result<Trace, Stopped> {
            look.runs += 1;
            tracer.trace(input, log).map_err(Stopped::Worker)
        };
        let found = self.waiting.entry(id).or_default();
        let plain = trace(input, true)?;
        // What kills the target is found by the ordinary worker, and colouring would cost a child a run.
        if plain.log.is_empty() || plain.outcome.is_finding() {
            self.silent += u32::from(plain.log.is_empty());
            if self.silent == SILENT {
                self.source = Source::Absent;
            }
            return Ok(());
        }
        self.silent = 0;
        let affordable = if pace > 0.0 { (LONGEST / pace) as usize } else { COLOURING };
        // A target that does not take the same way twice cannot be coloured.
        let is_steady = trace(input, false)?.path == plain.path;
        let runs = if is_steady { (2 * input.len()).min(COLOURING).min(affordable) } else { 0 };
        let mut stopped = None;
        let coloured = colour::colour(input, runs, rand, |changed| match trace(changed, false) {
            Ok(seen) => {
                if seen.outcome.is_finding() && found.len() < KILLERS {
                    found.push_back(Patch::whole(input.len(), changed));
                }
                Ok(seen.path == plain.path)
            }
            Err(why) => {
                stopped = Some(why);
                Err(Error::shutting_down())
            }
        });
        if let Some(why) = stopped {
            return Err(why);
        }
        let coloured = coloured.map_err(Stopped::Engine)?;
        let after = trace(&coloured, true)?;
        let (plain, coloured) = (Run { input, log: &plain.log }, Run { input: &coloured, log: &after.log });
        found.extend(replace::patches(plain, coloured));
        look.tokens = constants::constants(plain, coloured);
        Ok(())
    }

    /// Puts back replacements that were taken and not tried, in front of those that wait.
    pub fn put_back(&mut self, id: CorpusId, untried: impl DoubleEndedIterator<Item = Patch>) {
        let waiting = self.waiting.entry(id).or_default();
        untried.rev().for_each(|patch| waiting.push_front(patch));
    }

    /// Up to `most` replacements in an entry that was looked at; they do not come again.
    pub fn take(&mut self, id: CorpusId, most: usize) -> impl Iterator<Item = Patch> {
        let waiting = self.waiting.get_mut(&id);
        waiting.into_iter().flat_map(move |waiting| waiting.drain(..most.min(waiting.len())))
    }
}

enum Stopped {
    Worker(WorkerError),
    Engine(Error),
}

impl Source {
    fn tracer(&mut self) -> Result<&mut Box<dyn Tracer>, Stopped> {
        *self = match std::mem::replace(self, Source::Absent) {
            Source::Waiting(start) => Source::Ready(start().map_err(Stopped::Worker)?),
            other => other,
        };
        match self {
            Source::Ready(tracer) => Ok(tracer),
            _ => Err(Stopped::Worker(WorkerError::Broken("was not started".into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rand::Xoshiro;
    use crate::worker::mock::{MockTracer, compared_numbers};
    use hitmap_wire::outcome::Outcome;

    #[test]
    fn what_kills_the_comparison_build_is_run_by_the_ordinary_one() {
        let tracer = MockTracer(|input: &[u8]| match input[1] {
            b'x' => (1, Outcome::Ok, vec![compared_numbers(1, 2, 3)]),
            _ => (2, Outcome::Signal, Vec::new()),
        });
        let mut replacing = Replacing::new(Box::new(|| Ok(Box::new(tracer))));
        let (input, id) = (b"axb", CorpusId(0));
        replacing.look(id, input, Standing::default(), &mut Xoshiro::new(1), 0.0).unwrap();
        let first = replacing.take(id, 1).next().unwrap();
        let killer = first.parts(input).concat();
        assert!(killer.len() == 3 && killer[1] != b'x', "{killer:?}");
    }

    #[test]
    fn what_was_not_tried_comes_first_at_the_next_visit() {
        let (mut replacing, id) = (Replacing::absent(), CorpusId(0));
        let patches = |names: &[u8]| names.iter().map(|name| Patch::whole(1, &[*name])).collect::<Vec<_>>();
        replacing.put_back(id, patches(b"abcd").into_iter());
        let taken: Vec<Patch> = replacing.take(id, 3).collect();
        replacing.put_back(id, taken.into_iter().skip(1));
        let left: Vec<Vec<u8>> = replacing.take(id, 9).map(|patch| patch.parts(b"x").concat()).collect();
        assert_eq!(left, [b"b", b"c", b"d"]);
    }
}
