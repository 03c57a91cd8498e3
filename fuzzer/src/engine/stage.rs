//! One visit to a testcase: make all mutants, run them in batches, then act on what was seen.
//!
//! The order is what makes a run repeatable. How many mutants a visit makes comes from the
//! generator, all of them are made before the first runs, and verdicts are applied in their order
//! after the last one ran. Time decides only how many travel per wake-up, inside the worker.

use libafl::corpus::CorpusId;
use libafl::corpus::{Corpus, HasCurrentCorpusId};
use libafl::fuzzer::{Evaluator, ExecuteInputResult};
use libafl::inputs::{BytesInput, HasMutatorBytes, ResizableMutator};
use libafl::mutators::MutationResult;
use libafl::stages::{Restartable, Stage};
use libafl::state::{HasCorpus, HasCurrentTestcase, HasExecutions, HasRand, HasSolutions};
use libafl::{Error, HasFeedback, HasScheduler};
use libafl_bolts::rands::Rand;
use std::num::NonZeroUsize;

use super::executor::WorkerExecutor;
use super::{Fuzzer, Havoc, Manager, State};
use crate::worker::{Evidence, Observation, Seen};
use hitmap_wire::modules::Module;

/// Mutants a visit makes at the least.
const VISIT: usize = 128;

/// What the engine does about its decisions: the one place that touches disk and reports.
pub trait Acts {
    /// An input was added to the corpus.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn kept(&mut self, new: Kept<'_>) -> Result<(), Error>;
    /// Whether this finding is known by its raw hash; a known one is counted and not run again.
    fn is_known(&mut self, raw: u64) -> bool;
    /// An input is a finding: the evidence of the batch, and, when the input was run again in a
    /// fresh child, what that showed and touched.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn found(&mut self, found: Found<'_>) -> Result<(), Error>;
    /// An input was flagged for this hit but did not show anything new when it was run again.
    /// Returns true when the hit is to be silenced.
    fn fickle(&mut self, hit: hitmap_observers::observer::Hit) -> bool;
    /// Called after every batch with the executions so far; true to stop.
    fn tick(&mut self, execs: u64) -> bool;
}

/// A new testcase.
#[derive(Debug)]
pub struct Kept<'a> {
    /// Its number in the corpus.
    pub id: CorpusId,
    /// The testcase it was made from.
    pub parent: Option<CorpusId>,
    /// Its bytes.
    pub input: &'a [u8],
    /// What it touched.
    pub hits: &'a [hitmap_observers::observer::Hit],
    /// How long it ran, in nanoseconds.
    pub nanos: u64,
    /// Executions so far.
    pub execs: u64,
    /// Whether it brings an edge that was never hit, not only a larger class.
    pub new_edge: bool,
    /// The libraries that its hits lie in.
    pub modules: &'a [Module],
}

/// A finding.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its bytes.
    pub input: &'a [u8],
    /// What the batch saw.
    pub first: &'a Evidence,
    /// What a fresh child showed.
    pub again: &'a Observation,
    /// What it touched in the fresh child.
    pub hits: &'a [hitmap_observers::observer::Hit],
    /// The testcase it was made from.
    pub parent: Option<CorpusId>,
    /// Executions so far.
    pub execs: u64,
    /// The libraries of the target.
    pub modules: &'a [Module],
}

/// Mutates the current testcase and runs the mutants in batches.
pub struct BatchStage<A> {
    mutator: Havoc,
    /// What is done about decisions.
    pub acts: A,
    max_execs: Option<u64>,
    mutants: Vec<BytesInput>,
    seen: Vec<Seen>,
    batch: Vec<Seen>,
}

impl<A: Acts> BatchStage<A> {
    /// A stage that stops making mutants at `max_execs` executions.
    pub fn new(mutator: Havoc, acts: A, max_execs: Option<u64>) -> BatchStage<A> {
        BatchStage { mutator, acts, max_execs, mutants: Vec::new(), seen: Vec::new(), batch: Vec::new() }
    }

    /// Runs one input through the ordinary evaluate path, as seeds and peers' inputs are, and acts on
    /// it. Says whether it was kept.
    ///
    /// # Errors
    /// When the worker cannot go on or the input cannot be kept.
    pub fn evaluate(
        &mut self,
        fuzzer: &mut Fuzzer,
        executor: &mut WorkerExecutor,
        state: &mut State,
        manager: &mut Manager,
        input: &BytesInput,
    ) -> Result<bool, Error> {
        let parent = *state.corpus().current();
        executor.set_fresh(false);
        let covered = fuzzer.feedback().history().covered();
        let (result, id) = fuzzer.evaluate_input(state, executor, manager, input)?;
        let observation = executor.take_observation().expect("the executor ran");
        if let Some(first) = observation.evidence.as_deref() {
            if !self.acts.is_known(first.raw) {
                return self.confirm(fuzzer, executor, state, manager, input, &first.clone()).map(|()| false);
            }
            return Ok(false);
        }
        let new_edge = fuzzer.feedback().history().covered() > covered;
        self.keep(executor, state, input, result, id, parent, &observation, new_edge)
    }

    fn make_mutants(&mut self, state: &mut State, energy: usize) -> Result<usize, Error> {
        let parent = state.current_input_cloned()?;
        let left = self.max_execs.map_or(u64::MAX, |max| max.saturating_sub(*state.executions()));
        let wanted = energy.min(usize::try_from(left).unwrap_or(usize::MAX));
        self.mutants.resize(self.mutants.len().max(wanted), BytesInput::new(Vec::new()));
        for at in 0..wanted {
            let mutant = &mut self.mutants[at];
            mutant.resize(0, 0);
            mutant.extend(parent.mutator_bytes());
            // A mutation that had nothing to work on is simply tried again; an input on which none
            // works (it is empty, say) runs as it is.
            for _ in 0..4 {
                if self.mutator.mutate(state, mutant)? == MutationResult::Mutated {
                    break;
                }
            }
        }
        Ok(wanted)
    }

    fn run_mutants(&mut self, executor: &mut WorkerExecutor, state: &mut State, count: usize) -> Result<(), Error> {
        self.seen.clear();
        let inputs: Vec<&[u8]> = self.mutants[..count].iter().map(HasMutatorBytes::mutator_bytes).collect();
        while self.seen.len() < count {
            let rest = &inputs[self.seen.len()..];
            if let Err(error) = executor.worker().run(rest, &mut self.batch) {
                return Err(executor.fail(error));
            }
            *state.executions_mut() += self.batch.len() as u64;
            self.seen.append(&mut self.batch);
            if self.acts.tick(*state.executions()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        fuzzer: &mut Fuzzer,
        executor: &mut WorkerExecutor,
        state: &mut State,
        manager: &mut Manager,
        at: usize,
    ) -> Result<(), Error> {
        match std::mem::replace(&mut self.seen[at], Seen::Boring) {
            Seen::Boring => Ok(()),
            Seen::Novel(hit) => {
                if !fuzzer.feedback().history().is_novel(hit.0, hit.1) {
                    // An earlier mutant of this visit brought it already.
                    return Ok(());
                }
                let input = self.mutants[at].clone();
                if !self.evaluate(fuzzer, executor, state, manager, &input)? && self.acts.fickle(hit) {
                    fuzzer.feedback_mut().history_mut().silence(hit.0, hit.1);
                }
                Ok(())
            }
            Seen::Finding(first) => {
                if self.acts.is_known(first.raw) {
                    return Ok(());
                }
                let input = self.mutants[at].clone();
                self.confirm(fuzzer, executor, state, manager, &input, &first)
            }
        }
    }

    /// Runs a finding again in a fresh child, and keeps it whatever that shows.
    fn confirm(
        &mut self,
        fuzzer: &mut Fuzzer,
        executor: &mut WorkerExecutor,
        state: &mut State,
        manager: &mut Manager,
        input: &BytesInput,
        first: &Evidence,
    ) -> Result<(), Error> {
        let parent = *state.corpus().current();
        executor.set_fresh(true);
        let covered = fuzzer.feedback().history().covered();
        let (result, id) = fuzzer.evaluate_input(state, executor, manager, input)?;
        executor.set_fresh(false);
        // LibAFL keeps solutions twice over and in memory; ours are on disk.
        let solutions: Vec<CorpusId> = state.solutions().ids().collect();
        for solution in solutions {
            state.solutions_mut().remove(solution)?;
        }
        let again = executor.take_observation().expect("the executor ran");
        let hits = executor.touched().hits().to_vec();
        let execs = *state.executions();
        let modules = executor.worker().modules();
        let input_bytes = input.mutator_bytes();
        self.acts.found(Found { input: input_bytes, first, again: &again, hits: &hits, parent, execs, modules })?;
        if again.evidence.is_none() {
            let new_edge = fuzzer.feedback().history().covered() > covered;
            self.keep(executor, state, input, result, id, parent, &again, new_edge)?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one call's worth of LibAFL's parts")]
    fn keep(
        &mut self,
        executor: &mut WorkerExecutor,
        state: &State,
        input: &BytesInput,
        result: ExecuteInputResult,
        id: Option<CorpusId>,
        parent: Option<CorpusId>,
        observation: &Observation,
        new_edge: bool,
    ) -> Result<bool, Error> {
        let (ExecuteInputResult::Corpus, Some(id)) = (result, id) else { return Ok(false) };
        let mut hits = executor.touched().hits().to_vec();
        hits.sort_unstable();
        let (nanos, execs) = (observation.nanos, *state.executions());
        let modules = executor.worker().modules();
        let input = input.mutator_bytes();
        self.acts.kept(Kept { id, parent, input, hits: &hits, nanos, execs, new_edge, modules })?;
        Ok(true)
    }
}

impl<A: Acts> Stage<WorkerExecutor, Manager, State, Fuzzer> for BatchStage<A> {
    fn perform(
        &mut self,
        fuzzer: &mut Fuzzer,
        executor: &mut WorkerExecutor,
        state: &mut State,
        manager: &mut Manager,
    ) -> Result<(), Error> {
        let current = state.current_corpus_id()?.ok_or_else(|| Error::illegal_state("no testcase is scheduled"))?;
        let (favoured, fuzzed) = fuzzer.scheduler().standing(current);
        let most = VISIT * (1 + usize::from(favoured)) * (1 + usize::from(!fuzzed));
        let energy = VISIT / 2 + state.rand_mut().below(NonZeroUsize::new(most).expect("VISIT is not 0"));
        let count = self.make_mutants(state, energy)?;
        self.run_mutants(executor, state, count)?;
        for at in 0..self.seen.len() {
            self.apply(fuzzer, executor, state, manager, at)?;
        }
        fuzzer.scheduler_mut().mark_fuzzed(current);
        Ok(())
    }
}

impl<A> Restartable<State> for BatchStage<A> {
    fn should_restart(&mut self, _: &mut State) -> Result<bool, Error> {
        Ok(true)
    }

    fn clear_progress(&mut self, _: &mut State) -> Result<(), Error> {
        Ok(())
    }
}
