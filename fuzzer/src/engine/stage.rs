//! One visit to a testcase: make all mutants, run them in batches, then act on what was seen.
//!
//! The order is what makes a run repeatable. A verdict depends on its input and on the history, which
//! stands still while a visit's mutants run. How many mutants a visit makes comes from the
//! generator, all of them are made before the first runs, and verdicts are applied in their order
//! after the last one ran. Time decides only how many travel per wake-up, inside the worker.

use std::collections::HashSet;
use std::ops::Range;

use libafl::corpus::CorpusId;
use libafl::corpus::{Corpus, HasCurrentCorpusId};
use libafl::fuzzer::{Evaluator, ExecuteInputResult};
use libafl::inputs::{BytesInput, HasMutatorBytes, ResizableMutator};
use libafl::stages::{Restartable, Stage};
use libafl::state::{HasCorpus, HasCurrentTestcase, HasExecutions, HasMaxSize, HasRand, HasSolutions};
use libafl::{Error, HasFeedback, HasScheduler};
use libafl_bolts::rands::Rand;

use super::comparisons::replace::Patch;
use super::comparisons::{self, Replacing};
use super::executor::WorkerExecutor;
use super::havoc::Havoc;
use super::making::Making;
use super::scheduler::Standing;
use super::spent::{Part, Stopwatch};
use super::{Fuzzer, Manager, State, trim};
use crate::worker::{Evidence, Miss, Observation, Seen};
use hitmap_observers::observer::Hit;
use hitmap_wire::modules::Module;
use hitmap_wire::outcome::Outcome;

/// The measure of a visit, in mutants. A favoured entry and one that was never visited get more.
const VISIT: usize = 128;
/// A visit doubles with every one before it that brought nothing, up to this power: what is left to
/// find there takes many tries, and long visits cost fewer wake-ups.
const PATIENCE: u32 = 2;
/// A corpus of fewer entries than that is visited for longer: the next visit is to the same entry again.
const FEW: usize = 4;
/// How long a visit may take, in nanoseconds, when time may decide at all: what it finds is kept when
/// it ends.
const LONGEST: f64 = 1e9;
/// Hangs that a visit meets before the rest of its mutants is left, when there is one that is known: each costs as
/// much as thousands of runs, and they come in crowds.
const HANGS: usize = 2;

/// What the engine does about its decisions: the one place that touches disk and reports.
pub trait Acts {
    /// An input was added to the corpus.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn kept(&mut self, new: Kept<'_>) -> Result<(), Error>;
    /// Whether this finding is known by its raw hash; a known one is counted and not run again.
    fn is_known(&mut self, raw: u64) -> bool;
    /// An input is a finding: the evidence of the batch, what a fresh child showed, or both, which may be two
    /// findings.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn found(&mut self, found: Found<'_>) -> Result<(), Error>;
    /// A child was ended by another process, and its input did nothing of the kind when it ran again.
    fn was_killed(&mut self);
    /// An input was flagged for this hit but did not show anything new when it was run again.
    /// Returns true when the hit is to be silenced.
    fn fickle(&mut self, hit: Hit) -> bool;
    /// An edge was not hit as often when an entry was run once more.
    fn varies(&mut self, edge: u32);
    /// Called after every batch with the executions so far; true to stop.
    fn tick(&mut self, execs: u64) -> bool;
    /// Something that the user should know.
    fn tell(&mut self, note: String);
    /// A function of the harness that makes inputs failed at this, and has not failed so before.
    fn missed(&mut self, miss: &Miss);
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
    pub hits: &'a [Hit],
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
    /// What was seen first, mostly in a batch.
    pub first: Option<&'a Evidence>,
    /// What a fresh child showed.
    pub again: Option<&'a Evidence>,
    /// What it touched in the fresh child.
    pub hits: &'a [Hit],
    /// The testcase it was made from.
    pub parent: Option<CorpusId>,
    /// Executions so far.
    pub execs: u64,
    /// The libraries of the target.
    pub modules: &'a [Module],
}

/// Mutates the current testcase and runs the mutants in batches.
pub struct BatchStage<A> {
    /// Mutation by chance.
    pub mutator: Havoc,
    replacing: Replacing,
    making: Making,
    /// What is done about decisions.
    pub acts: A,
    max_execs: Option<u64>,
    pub(super) mutants: Mutants,
    /// The replacements among them, which come first.
    patches: Vec<Patch>,
    /// Whether a hang is among the findings. Counted by outcomes, which repeat, not by where each was seen.
    pub(super) knows_hangs: bool,
    /// The mutant that is being made.
    scratch: BytesInput,
    pub(super) seen: Vec<Seen>,
    batch: Vec<Seen>,
    /// What was new in this visit's mutants, by hash, and has been looked at.
    looked_at: HashSet<u64>,
    /// Findings that showed while an input was trimmed, or run once more.
    pub(super) aside: Vec<(BytesInput, Box<Evidence>)>,
    /// Set when somebody asks where the time goes.
    pub stopwatch: Option<Stopwatch>,
}

/// LibAFL's parts, as one visit borrows them.
pub struct Parts<'a> {
    /// Scheduler, feedback and objective.
    pub fuzzer: &'a mut Fuzzer,
    /// The worker and its observers.
    pub executor: &'a mut WorkerExecutor,
    /// Corpus, generator and counters.
    pub state: &'a mut State,
    /// Events, which go nowhere.
    pub manager: &'a mut Manager,
}

/// One input that went through LibAFL's evaluate path.
pub(super) struct Evaluated {
    pub(super) observation: Observation,
    parent: Option<CorpusId>,
    /// Its number, when it was added to the corpus.
    id: Option<CorpusId>,
    new_edge: bool,
}

impl Parts<'_> {
    /// What an input touches, in order; the evidence when it is a finding.
    fn hits(&mut self, input: &[u8]) -> Result<Result<Vec<Hit>, Box<Evidence>>, Error> {
        *self.state.executions_mut() += 1;
        let mut hits = Vec::new();
        let observed = self.executor.worker().observe(input, false, &mut hits);
        let observed = observed.map_err(|error| self.executor.fail(error))?;
        hits.sort_unstable();
        Ok(observed.evidence.map_or(Ok(hits), Err))
    }

    /// The testcase that mutants are made of now.
    pub(super) fn parent(&self) -> Option<CorpusId> {
        *self.state.corpus().current()
    }

    pub(super) fn evaluate(&mut self, input: &BytesInput, fresh: bool) -> Result<Evaluated, Error> {
        let parent = self.parent();
        let covered = self.fuzzer.feedback().history().covered();
        self.executor.set_fresh(fresh);
        let (result, id) = self.fuzzer.evaluate_input(self.state, self.executor, self.manager, input)?;
        if result == ExecuteInputResult::Solution {
            // LibAFL keeps solutions twice over and in memory; ours are on disk.
            let solutions: Vec<CorpusId> = self.state.solutions().ids().collect();
            for solution in solutions {
                self.state.solutions_mut().remove(solution)?;
            }
        }
        let observation = self.executor.take_observation().ok_or_else(|| Error::illegal_state("nothing was run"))?;
        let new_edge = self.fuzzer.feedback().history().covered() > covered;
        Ok(Evaluated { observation, parent, id, new_edge })
    }
}

impl<A: Acts> BatchStage<A> {
    /// A stage that stops making mutants at `max_execs` executions.
    pub fn new(mutator: Havoc, replacing: Replacing, making: Making, acts: A, max_execs: Option<u64>) -> BatchStage<A> {
        BatchStage {
            mutator,
            replacing,
            making,
            acts,
            max_execs,
            mutants: Mutants::default(),
            patches: Vec::new(),
            knows_hangs: false,
            scratch: BytesInput::new(Vec::new()),
            seen: Vec::new(),
            batch: Vec::new(),
            looked_at: HashSet::new(),
            aside: Vec::new(),
            stopwatch: None,
        }
    }

    fn lap(&mut self, part: Part) {
        if let Some(stopwatch) = &mut self.stopwatch {
            stopwatch.lap(part);
        }
    }

    /// Runs one input through the ordinary evaluate path, as seeds and peers' inputs are, and acts on
    /// it. Says whether it was kept.
    ///
    /// # Errors
    /// When the worker cannot go on or the input cannot be kept.
    pub fn evaluate(&mut self, parts: &mut Parts<'_>, input: &BytesInput) -> Result<bool, Error> {
        let evaluated = parts.evaluate(input, false)?;
        let kept = match evaluated.observation.evidence.as_deref() {
            Some(first) if self.acts.is_known(first.raw) => false,
            Some(first) => self.confirm(parts, input, first).map(|()| false)?,
            None => self.keep(parts, input, &evaluated)?,
        };
        self.confirm_aside(parts)?;
        Ok(kept)
    }

    /// Confirms an input that turned out to be a finding when it ran alone.
    ///
    /// # Errors
    /// When the worker cannot go on or the input cannot be kept.
    pub fn suspect(&mut self, parts: &mut Parts<'_>, input: BytesInput, first: Box<Evidence>) -> Result<(), Error> {
        self.aside.push((input, first));
        self.confirm_aside(parts)
    }

    fn confirm_aside(&mut self, parts: &mut Parts<'_>) -> Result<(), Error> {
        while let Some((input, first)) = self.aside.pop() {
            if !self.acts.is_known(first.raw) {
                self.confirm(parts, &input, &first)?;
            }
        }
        Ok(())
    }

    /// How many mutants a visit makes. Under a budget in executions the generator alone decides, so
    /// that the same seed makes the same queue.
    fn energy(&self, standing: Standing, state: &mut State, executor: &mut WorkerExecutor) -> usize {
        let most = VISIT * (1 + usize::from(standing.favoured)) * (1 + usize::from(!standing.fuzzed));
        let patience = PATIENCE + (FEW / state.corpus().count().max(1)).checked_ilog2().unwrap_or(0);
        let energy = (VISIT / 2 + state.rand_mut().below_or_zero(most)) << standing.barren.min(patience);
        let pace = executor.worker().nanos_per_run();
        if self.max_execs.is_some() || pace <= 0.0 {
            return energy;
        }
        energy.min((LONGEST / pace) as usize).max(16)
    }

    /// Finds out what the target compares the entry with, when that was not done before.
    fn look(
        &mut self,
        id: CorpusId,
        standing: Standing,
        state: &mut State,
        executor: &mut WorkerExecutor,
    ) -> Result<(), Error> {
        let parent = state.current_input_cloned()?;
        let pace = if self.max_execs.is_some() { 0.0 } else { executor.worker().nanos_per_run() };
        let look = self.replacing.look(id, parent.mutator_bytes(), standing, state.rand_mut(), pace)?;
        *state.executions_mut() += look.runs;
        self.mutator.add_tokens(state, &look.tokens);
        if let Some(note) = look.note {
            self.acts.tell(note);
        }
        Ok(())
    }

    /// Replacements first, then havoc and the harness's own functions, mixed. The generator alone decides what
    /// they are.
    fn make_mutants(
        &mut self,
        id: CorpusId,
        state: &mut State,
        executor: &mut WorkerExecutor,
        energy: usize,
    ) -> Result<usize, Error> {
        let parent = state.current_input_cloned()?;
        let left = self.max_execs.map_or(u64::MAX, |max| max.saturating_sub(*state.executions()));
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        self.mutants.clear();
        self.patches = self.replacing.take(id, comparisons::PATCHES.min(left)).collect();
        for patch in &self.patches {
            let mutant = begin(&mut self.scratch, &[]);
            patch.parts(parent.mutator_bytes()).iter().for_each(|part| mutant.extend(*part));
            mutant.resize(mutant.mutator_bytes().len().min(state.max_size()), 0);
            self.mutants.push(mutant.mutator_bytes());
        }
        let made = self.mutants.len();
        let wanted = (made + energy).min(left);
        for at in made..wanted {
            let mutant = begin(&mut self.scratch, parent.mutator_bytes());
            if !self.making.claims(at, id, state) {
                self.mutator.mutate(state, mutant)?;
            }
            self.mutants.push(mutant.mutator_bytes());
        }
        let BatchStage { making, mutants, scratch, mutator, acts, .. } = self;
        let take = |state: &mut State, at: usize, made: Option<Vec<u8>>| {
            if let Some(input) = made {
                mutants.replace(at, &input);
            } else {
                let mutant = begin(scratch, parent.mutator_bytes());
                mutator.mutate(state, mutant)?;
                mutants.replace(at, mutant.mutator_bytes());
            }
            Ok(())
        };
        making.make(parent.mutator_bytes(), state, executor, take, |miss| acts.missed(&miss))?;
        Ok(wanted)
    }

    /// Runs them in their order, up to the last one or to one hang too many.
    fn run_mutants(&mut self, executor: &mut WorkerExecutor, state: &mut State, count: usize) -> Result<(), Error> {
        self.seen.clear();
        let mut left = HANGS + usize::from(!self.knows_hangs);
        let inputs: Vec<&[u8]> = (0..count).map(|at| self.mutants.get(at)).collect();
        while self.seen.len() < count {
            let rest = &inputs[self.seen.len()..];
            if let Err(error) = executor.worker().run(rest, &mut self.batch) {
                return Err(executor.fail(error));
            }
            *state.executions_mut() += self.batch.len() as u64;
            // It ended the child, and with it the batch: what comes after it did not run, however much travels.
            left -= usize::from(self.batch.last().is_some_and(is_hang));
            self.seen.append(&mut self.batch);
            if self.acts.tick(*state.executions()) || left == 0 {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, parts: &mut Parts<'_>, at: usize) -> Result<(), Error> {
        match std::mem::replace(&mut self.seen[at], Seen::Boring) {
            Seen::Boring => Ok(()),
            // An earlier mutant of this visit brought the same, or failed to.
            Seen::Novel { set, .. } if !self.looked_at.insert(set) => Ok(()),
            Seen::Novel { hit, .. } => {
                let input = self.trimmed(parts, at)?;
                if !self.evaluate(parts, &input)? && self.acts.fickle(hit) {
                    parts.fuzzer.feedback_mut().history_mut().silence(hit.0, hit.1);
                }
                Ok(())
            }
            Seen::Finding(first) if self.acts.is_known(first.raw) => Ok(()),
            Seen::Finding(first) => {
                let input = BytesInput::new(self.mutants.get(at).to_vec());
                self.confirm(parts, &input, &first)
            }
        }
    }

    /// A mutant that brings something new, without the bytes that have no part in it.
    fn trimmed(&mut self, parts: &mut Parts<'_>, at: usize) -> Result<BytesInput, Error> {
        let input = BytesInput::new(self.mutants.get(at).to_vec());
        if self.making.replaces_chance() || input.mutator_bytes().len() < trim::SHORTEST {
            return Ok(input);
        }
        let wanted = match parts.hits(input.mutator_bytes())? {
            Ok(wanted) => wanted,
            Err(evidence) => {
                self.aside.push((input.clone(), evidence));
                return Ok(input);
            }
        };
        let history = parts.fuzzer.feedback().history();
        if !wanted.iter().any(|(edge, class)| history.is_novel(*edge, *class)) {
            return Ok(input);
        }
        let pace = parts.executor.worker().nanos_per_run();
        let affordable =
            if self.max_execs.is_some() || pace <= 0.0 { trim::RUNS } else { (LONGEST / 8.0 / pace) as usize };
        let same = |shorter: &[u8]| match parts.hits(shorter)? {
            Ok(hits) => Ok(hits == wanted),
            Err(evidence) => {
                self.aside.push((BytesInput::new(shorter.to_vec()), evidence));
                Ok(false)
            }
        };
        trim::trim(input.mutator_bytes(), trim::RUNS.min(affordable), same).map(BytesInput::new)
    }

    pub(super) fn keep(
        &mut self,
        parts: &mut Parts<'_>,
        input: &BytesInput,
        evaluated: &Evaluated,
    ) -> Result<bool, Error> {
        let Some(id) = evaluated.id else { return Ok(false) };
        let mut hits = parts.executor.touched().hits().to_vec();
        hits.sort_unstable();
        // Once more: what a target does by chance or from memory shows here. A finding is not run again.
        if evaluated.observation.evidence.is_none() {
            match parts.hits(input.mutator_bytes())? {
                Ok(again) => self.compare(&hits, &again),
                Err(evidence) => self.aside.push((input.clone(), evidence)),
            }
        }
        self.acts.kept(Kept {
            id,
            parent: evaluated.parent,
            input: input.mutator_bytes(),
            hits: &hits,
            nanos: evaluated.observation.nanos,
            execs: *parts.state.executions(),
            new_edge: evaluated.new_edge,
            modules: parts.executor.worker().modules(),
        })?;
        Ok(true)
    }

    /// Notes the edges that two runs of one input did not hit alike.
    fn compare(&mut self, one: &[Hit], other: &[Hit]) {
        let (known, seen): (HashSet<&Hit>, HashSet<&Hit>) = (one.iter().collect(), other.iter().collect());
        known.symmetric_difference(&seen).for_each(|(edge, _)| self.acts.varies(*edge));
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
        let standing = fuzzer.scheduler().standing(current);
        if let Some(stopwatch) = &mut self.stopwatch {
            stopwatch.begin();
        }
        self.look(current, standing, state, executor)?;
        self.lap(Part::Comparisons);
        let energy = self.energy(standing, state, executor);
        let kept = state.corpus().count();
        let count = self.make_mutants(current, state, executor, energy)?;
        self.lap(Part::Mutation);
        let ran = self.run_mutants(executor, state, count);
        let tried = self.seen.len().min(self.patches.len());
        self.replacing.put_back(current, self.patches.drain(tried..));
        self.lap(Part::Batches);
        self.looked_at.clear();
        let mut parts = Parts { fuzzer, executor, state, manager };
        let applied = ran.and_then(|()| (0..self.seen.len()).try_for_each(|at| self.apply(&mut parts, at)));
        if let Err(error) = applied {
            self.rescue(&mut parts)?;
            return Err(error);
        }
        let brought = parts.state.corpus().count() > kept;
        parts.fuzzer.scheduler_mut().mark_fuzzed(current, brought);
        self.lap(Part::Judging);
        Ok(())
    }
}

fn is_hang(seen: &Seen) -> bool {
    matches!(seen, Seen::Finding(evidence) if evidence.outcome == Outcome::Timeout)
}

/// The mutants of a visit, one behind the other in memory. With a buffer for each, which keeps the size of the
/// longest that it ever held, they are spread over many pages, and copying took a quarter of the engine's time.
#[derive(Default)]
pub(super) struct Mutants {
    bytes: Vec<u8>,
    all: Vec<Range<usize>>,
}

impl Mutants {
    fn clear(&mut self) {
        self.bytes.clear();
        self.all.clear();
    }

    fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, at: usize) -> &[u8] {
        &self.bytes[self.all[at].clone()]
    }

    fn append(&mut self, mutant: &[u8]) -> Range<usize> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(mutant);
        from..self.bytes.len()
    }

    fn push(&mut self, mutant: &[u8]) {
        let range = self.append(mutant);
        self.all.push(range);
    }

    /// Puts another in the place of one; the old bytes stay until the visit ends.
    fn replace(&mut self, at: usize, mutant: &[u8]) {
        self.all[at] = self.append(mutant);
    }
}

/// The mutant that is made next, so far as `bytes`; its memory is that of the one before.
fn begin<'a>(scratch: &'a mut BytesInput, bytes: &[u8]) -> &'a mut BytesInput {
    scratch.resize(0, 0);
    scratch.extend(bytes);
    scratch
}

impl<A> Restartable<State> for BatchStage<A> {
    fn should_restart(&mut self, _: &mut State) -> Result<bool, Error> {
        Ok(true)
    }

    fn clear_progress(&mut self, _: &mut State) -> Result<(), Error> {
        Ok(())
    }
}
