//! LibAFL's executor over a [`Worker`]: one input at a time, observed.
//!
//! Batches go to the worker directly, from the batch stage; what they flag comes back here, through
//! LibAFL's ordinary evaluate path, so that observers, feedbacks and objectives keep their meaning.

use libafl::Error;
use libafl::executors::{Executor, ExitKind, HasObservers};
use libafl::inputs::{BytesInput, HasMutatorBytes};
use libafl::state::HasExecutions;
use libafl_bolts::tuples::RefIndexable;

use hitmap_observers::observer::TouchedObserver;
use hitmap_wire::outcome::Outcome;

use super::{Observers, State};
use crate::worker::{Observation, Worker, WorkerError};

/// LibAFL's word for an outcome. The only place that flattens it.
pub fn exit_kind(outcome: Outcome) -> ExitKind {
    match outcome {
        Outcome::Ok | Outcome::Rejected => ExitKind::Ok,
        Outcome::Timeout => ExitKind::Timeout,
        Outcome::OutOfMemory => ExitKind::Oom,
        Outcome::Exception | Outcome::Signal | Outcome::Exit | Outcome::Sanitizer => ExitKind::Crash,
    }
}

/// Runs inputs in a worker.
pub struct WorkerExecutor {
    worker: Box<dyn Worker>,
    observers: Observers,
    fresh: bool,
    last: Option<Observation>,
    error: Option<WorkerError>,
}

impl WorkerExecutor {
    /// An executor over `worker` with the one observer of the engine.
    pub fn new(worker: Box<dyn Worker>, observer: TouchedObserver) -> WorkerExecutor {
        WorkerExecutor { worker, observers: (observer, ()), fresh: false, last: None, error: None }
    }

    /// The worker, to run a batch.
    pub fn worker(&mut self) -> &mut dyn Worker {
        &mut *self.worker
    }

    /// Whether the next input is to be run in a new child.
    pub fn set_fresh(&mut self, fresh: bool) {
        self.fresh = fresh;
    }

    /// Takes what the last input was seen to do.
    pub fn take_observation(&mut self) -> Option<Observation> {
        self.last.take()
    }

    /// Takes the error that made LibAFL stop, with its own type.
    pub fn take_error(&mut self) -> Option<WorkerError> {
        self.error.take()
    }

    /// Keeps a worker's error and gives LibAFL one of its own.
    pub fn fail(&mut self, error: WorkerError) -> Error {
        let text = error.to_string();
        self.error = Some(error);
        Error::unknown(text)
    }

    /// What the last input touched.
    pub fn touched(&self) -> &TouchedObserver {
        &self.observers.0
    }
}

impl<EM, Z> Executor<EM, BytesInput, State, Z> for WorkerExecutor {
    fn run_target(&mut self, _: &mut Z, state: &mut State, _: &mut EM, input: &BytesInput) -> Result<ExitKind, Error> {
        *state.executions_mut() += 1;
        let hits = self.observers.0.hits_mut();
        match self.worker.observe(input.mutator_bytes(), self.fresh, hits) {
            Ok(observation) => {
                let kind = exit_kind(observation.outcome);
                self.last = Some(observation);
                Ok(kind)
            }
            Err(error) => Err(self.fail(error)),
        }
    }
}

impl HasObservers for WorkerExecutor {
    type Observers = Observers;

    fn observers(&self) -> RefIndexable<&Observers, Observers> {
        RefIndexable::from(&self.observers)
    }

    fn observers_mut(&mut self) -> RefIndexable<&mut Observers, Observers> {
        RefIndexable::from(&mut self.observers)
    }
}
