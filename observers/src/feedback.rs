//! Novelty: an input is worth keeping when it touches an edge more often than any before.
//!
//! The rule is AFL's (a new edge, or a new count class of a known one), with LibAFL's "max" reducer:
//! only larger classes are new. It walks the touched edges, never the map.

use std::borrow::Cow;

use libafl::corpus::Testcase;
use libafl::executors::ExitKind;
use libafl::feedbacks::{Feedback, StateInitializer};
use libafl::{Error, HasMetadata};
use libafl_bolts::tuples::{Handle, Handled, MatchName, MatchNameRef};
use libafl_bolts::{Named, impl_serdeany};
use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::observer::{Hit, TouchedObserver};

/// What a testcase touched, kept with it for schedulers and for the features log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TouchedMetadata {
    /// Its edges, in ascending order.
    pub hits: Vec<Hit>,
}

impl_serdeany!(TouchedMetadata);

/// Judges by a [`History`], which it owns and raises when a testcase is kept.
#[derive(Debug)]
pub struct NoveltyFeedback {
    name: Cow<'static, str>,
    handle: Handle<TouchedObserver>,
    history: History,
}

impl NoveltyFeedback {
    /// A feedback over what `observer` sees.
    pub fn new(observer: &TouchedObserver, history: History) -> NoveltyFeedback {
        NoveltyFeedback { name: observer.name().clone(), handle: observer.handle(), history }
    }

    /// What was reached so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What was reached so far, to seed it from a snapshot or to silence an edge.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    fn observer<'a, OT: MatchName>(&self, observers: &'a OT) -> Result<&'a TouchedObserver, Error> {
        observers.get(&self.handle).ok_or_else(|| {
            Error::illegal_state(format!("no observer named {} among the executor's observers", self.name))
        })
    }
}

impl Named for NoveltyFeedback {
    fn name(&self) -> &Cow<'static, str> {
        &self.name
    }
}

impl<S> StateInitializer<S> for NoveltyFeedback {}

impl<EM, I, OT: MatchName, S> Feedback<EM, I, OT, S> for NoveltyFeedback {
    fn is_interesting(
        &mut self,
        _state: &mut S,
        _manager: &mut EM,
        _input: &I,
        observers: &OT,
        _exit_kind: &ExitKind,
    ) -> Result<bool, Error> {
        let hits = self.observer(observers)?.hits();
        Ok(hits.iter().any(|(edge, class)| self.history.is_novel(*edge, *class)))
    }

    fn append_metadata(
        &mut self,
        _state: &mut S,
        _manager: &mut EM,
        observers: &OT,
        testcase: &mut Testcase<I>,
    ) -> Result<(), Error> {
        let mut hits = self.observer(observers)?.hits().to_vec();
        hits.sort_unstable();
        for (edge, class) in &hits {
            self.history.raise(*edge, *class);
        }
        testcase.add_metadata(TouchedMetadata { hits });
        Ok(())
    }
}
