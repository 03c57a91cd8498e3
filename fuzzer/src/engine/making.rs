//! Mutation by the harness's own functions: which mutants they make, and what is done when they cannot.
//!
//! Owns that decision and the record of failures. The functions run in the worker's child; what they make is
//! copied here before it runs, so a child that dies later takes no mutant with it. Whatever they cannot make,
//! chance makes in its place: a visit always comes to its end.

use std::collections::HashSet;

use hitmap_wire::batch::making::Maker;
use libafl::Error;
use libafl::corpus::{Corpus, CorpusId};
use libafl::inputs::{BytesInput, HasMutatorBytes};
use libafl::state::{HasCorpus, HasMaxSize, HasRand};
use libafl_bolts::rands::Rand;

use super::State;
use super::executor::WorkerExecutor;
use super::rand::Xoshiro;
use crate::worker::{Made, Makers, Miss, Wish, Worker, WorkerError};

/// Calls that may fail before any has come off; then something is wrong with the function, not with the
/// inputs that it was given.
const TRIES: usize = 16;
/// Failures that are told, by their headlines.
const TOLD: usize = 8;
/// Initial inputs that a generator makes.
const GENERATED: usize = 32;
/// One mutant in so many is a crossover, where there is a mutator too.
const CROSSED: usize = 4;

/// A mutant that the harness is to make.
struct Planned {
    at: usize,
    maker: Maker,
    seed: u32,
    other: Option<CorpusId>,
}

/// The harness's own ways to make mutants.
pub struct Making {
    makers: Makers,
    planned: Vec<Planned>,
    has_worked: bool,
    failed: usize,
    undecodable: usize,
    told: HashSet<String>,
}

impl Making {
    /// For a harness that brings `makers`.
    pub fn new(makers: Makers) -> Making {
        Making { makers, planned: Vec::new(), has_worked: false, failed: 0, undecodable: 0, told: HashSet::new() }
    }

    /// Whether bytes are left alone, because the harness alone changes inputs.
    pub fn replaces_chance(&self) -> bool {
        self.makers.replace_chance()
    }

    /// Whether the mutant at `at` is left to the harness. The generator decides.
    pub fn claims(&mut self, at: usize, parent: CorpusId, state: &mut State) -> bool {
        if !self.makers.mutator && !self.makers.crossover {
            return false;
        }
        if !self.replaces_chance() && below(state.rand_mut(), 2) == 0 {
            return false;
        }
        let other = self.makers.crossover && (!self.makers.mutator || below(state.rand_mut(), CROSSED) == 0);
        let other = if other { other_entry(parent, state) } else { None };
        let maker = match other {
            Some(_) => Maker::Crossover,
            None if self.makers.mutator => Maker::Mutator,
            // There is nothing yet to cross it with.
            None => return false,
        };
        let seed = state.rand_mut().next() as u32;
        self.planned.push(Planned { at, maker, seed, other });
        true
    }

    /// Has the harness make what was claimed since the last call. `take` gets the mutants, by their
    /// numbers, and `None` where there is none.
    ///
    /// # Errors
    /// When the worker cannot go on, or no call has ever come off.
    pub fn make(
        &mut self,
        parent: &[u8],
        state: &mut State,
        executor: &mut WorkerExecutor,
        mut take: impl FnMut(&mut State, usize, Option<Vec<u8>>) -> Result<(), Error>,
        mut tell: impl FnMut(Miss),
    ) -> Result<(), Error> {
        if self.planned.is_empty() {
            return Ok(());
        }
        let planned = std::mem::take(&mut self.planned);
        let other = |one: &Planned| {
            one.other.map_or_else(|| Ok(BytesInput::new(Vec::new())), |id| state.corpus().cloned_input_for_id(id))
        };
        let others: Vec<BytesInput> = planned.iter().map(other).collect::<Result<_, Error>>()?;
        let mut wishes: Vec<Wish<'_>> = Vec::with_capacity(planned.len());
        for (one, other) in planned.iter().zip(&others) {
            wishes.push(Wish { maker: one.maker, seed: one.seed, first: parent, second: other.mutator_bytes() });
        }
        let max_len = state.max_size();
        let mut done = 0;
        let mut made = Vec::new();
        while done < wishes.len() {
            if let Err(error) = executor.worker().make(&wishes[done..], max_len, &mut made) {
                return Err(executor.fail(error));
            }
            for one in made.drain(..) {
                let input = self.judge(one, &mut tell).map_err(|error| executor.fail(error))?;
                take(state, planned[done].at, input)?;
                done += 1;
            }
        }
        Ok(())
    }

    fn judge(&mut self, made: Made, tell: &mut impl FnMut(Miss)) -> Result<Option<Vec<u8>>, WorkerError> {
        match made {
            Made::Input(input) => {
                self.has_worked = true;
                Ok(Some(input))
            }
            Made::Undecodable => {
                self.undecodable += 1;
                if !self.has_worked && self.undecodable == TRIES {
                    tell(nothing_decodes());
                }
                Ok(None)
            }
            Made::Failed(miss) => {
                self.failed += 1;
                if !self.has_worked && self.failed >= TRIES {
                    return Err(never_worked(&miss));
                }
                // The message of an exception may name the input; what stands before it is the same each time.
                let (key, _) = miss.headline.split_once(": ").unwrap_or((&miss.headline, ""));
                if self.told.len() < TOLD && self.told.insert(key.into()) {
                    tell(miss);
                }
                Ok(None)
            }
        }
    }
}

/// The inputs that a campaign without seeds begins with, from the harness's generator.
///
/// # Errors
/// When the worker cannot go on, or none is made.
pub fn generate(
    worker: &mut dyn Worker,
    rand: &mut Xoshiro,
    max_len: usize,
    mut tell: impl FnMut(Miss),
) -> Result<Vec<Vec<u8>>, WorkerError> {
    let none: &[u8] = &[];
    let wishes: Vec<Wish<'_>> = (0..GENERATED)
        .map(|_| Wish { maker: Maker::Generator, seed: rand.next() as u32, first: none, second: none })
        .collect();
    let mut making = Making::new(worker.makers());
    let (mut inputs, mut done, mut made) = (Vec::new(), 0, Vec::new());
    while done < wishes.len() {
        worker.make(&wishes[done..], max_len, &mut made)?;
        for one in made.drain(..) {
            done += 1;
            inputs.extend(making.judge(one, &mut tell)?);
        }
    }
    Ok(inputs)
}

fn nothing_decodes() -> Miss {
    let headline = "decode has raised for every input so far, so there is nothing to change: bring seeds that decode \
                    with -i, or give the harness a generator=";
    Miss { headline: headline.into(), details: String::new() }
}

fn never_worked(miss: &Miss) -> WorkerError {
    let text = format!("{}\n{}", miss.headline, miss.details);
    WorkerError::Harness(format!("{TRIES} calls failed and none came off: {}", text.trim_end()))
}

fn other_entry(parent: CorpusId, state: &mut State) -> Option<CorpusId> {
    let count = state.corpus().count();
    if count < 2 {
        return None;
    }
    let at = below(state.rand_mut(), count - 1);
    state.corpus().ids().filter(|id| *id != parent).nth(at)
}

fn below(rand: &mut Xoshiro, limit: usize) -> usize {
    rand.below_or_zero(limit)
}
