//! Novelty: an input is worth keeping when it touches an edge more often than any before.
//!
//! The rule is AFL's (a new edge, or a new count class of a known one), with LibAFL's "max" reducer:
//! only larger classes are new. It walks the touched edges, never the map.

use std::borrow::Cow;

use libafl::corpus::Testcase;
use libafl::events::{Event, EventFirer, EventWithStats};
use libafl::executors::ExitKind;
use libafl::feedbacks::map::{MapFeedbackMetadata, MapIndexesMetadata, MapNoveltiesMetadata};
use libafl::feedbacks::{Feedback, HasObserverHandle, StateInitializer};
use libafl::monitors::stats::user_stats::TAG_MAP;
use libafl::monitors::stats::{AggregatorOps, UserStats, UserStatsValue};
use libafl::observers::map::ExplicitTracking;
use libafl::state::HasExecutions;
use libafl::{Error, HasMetadata, HasNamedMetadata};
use libafl_bolts::tuples::{Handle, Handled, MatchName, MatchNameRef};
use libafl_bolts::{Named, impl_serdeany};
use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::live::EdgeObserver;
use crate::observer::{Hit, TouchedObserver};

/// What a testcase touched, kept with it for schedulers and for the features log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TouchedMetadata {
    /// Its edges, in ascending order.
    pub hits: Vec<Hit>,
}

impl_serdeany!(TouchedMetadata);

/// An observer that knows which edges a run touched.
pub trait Touched: Named {
    /// Whether LibAFL's index metadata is wanted of each testcase, as minimising schedulers do.
    const INDICES: bool = false;
    /// Whether LibAFL's metadata of what was new is wanted.
    const NOVELTIES: bool = false;

    /// Every touched edge, in ascending order.
    fn touched(&self) -> Vec<Hit>;
    /// Whether an edge is above the history.
    fn is_novel(&self, history: &History) -> bool;
    /// Edges that there are, for monitors; 0 when that is not known.
    fn total(&self) -> u64;
}

impl Touched for TouchedObserver {
    fn touched(&self) -> Vec<Hit> {
        let mut hits = self.hits().to_vec();
        hits.sort_unstable();
        hits
    }

    fn is_novel(&self, history: &History) -> bool {
        self.hits().iter().any(|(edge, class)| history.is_novel(*edge, *class))
    }

    fn total(&self) -> u64 {
        0
    }
}

impl Touched for EdgeObserver {
    fn touched(&self) -> Vec<Hit> {
        let mut hits: Vec<Hit> = self.run().hits().collect();
        hits.sort_unstable();
        hits
    }

    #[inline]
    fn is_novel(&self, history: &History) -> bool {
        self.run().is_novel(history)
    }

    fn total(&self) -> u64 {
        EdgeObserver::total(self)
    }
}

impl<O: Touched, const ITH: bool, const NTH: bool> Touched for ExplicitTracking<O, ITH, NTH> {
    const INDICES: bool = ITH;
    const NOVELTIES: bool = NTH;

    fn touched(&self) -> Vec<Hit> {
        self.as_ref().touched()
    }

    #[inline]
    fn is_novel(&self, history: &History) -> bool {
        self.as_ref().is_novel(history)
    }

    fn total(&self) -> u64 {
        self.as_ref().total()
    }
}

/// Judges by a [`History`], which it owns and raises when a testcase is kept.
///
/// The history is not part of LibAFL's state. What LibAFL's calibration finds to be unstable stays
/// where it puts it, in the state, and is not new to this feedback any more; the history, and so every
/// snapshot, keeps to what was seen.
#[derive(Debug)]
pub struct NoveltyFeedback<O = TouchedObserver> {
    name: Cow<'static, str>,
    handle: Handle<O>,
    history: History,
}

impl<O: Touched> NoveltyFeedback<O> {
    /// A feedback over what `observer` sees.
    pub fn new(observer: &O, history: History) -> NoveltyFeedback<O> {
        NoveltyFeedback { name: observer.name().clone(), handle: observer.handle(), history }
    }

    fn observer<'a, OT: MatchName>(&self, observers: &'a OT) -> Result<&'a O, Error> {
        observers.get(&self.handle).ok_or_else(|| {
            Error::illegal_state(format!("no observer named {} among the executor's observers", self.name))
        })
    }
}

impl<O> NoveltyFeedback<O> {
    /// What was reached so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What was reached so far, to seed it from a snapshot or to silence an edge.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }
}

impl<O> Named for NoveltyFeedback<O> {
    fn name(&self) -> &Cow<'static, str> {
        &self.name
    }
}

impl<O> HasObserverHandle for NoveltyFeedback<O> {
    type Observer = O;

    fn observer_handle(&self) -> &Handle<O> {
        &self.handle
    }
}

impl<O, S: HasNamedMetadata> StateInitializer<S> for NoveltyFeedback<O> {
    fn init_state(&mut self, state: &mut S) -> Result<(), Error> {
        // Where LibAFL's calibration writes down which edges are unstable; empty until it does.
        state.add_named_metadata_checked(&self.name, MapFeedbackMetadata::<u8>::default())
    }
}

/// What calibration writes for an edge that is not the same in every run.
const UNSTABLE: u8 = u8::MAX;

impl<EM, I, O, OT, S> Feedback<EM, I, OT, S> for NoveltyFeedback<O>
where
    EM: EventFirer<I, S>,
    O: Touched,
    OT: MatchName,
    S: HasNamedMetadata + HasExecutions,
{
    fn is_interesting(
        &mut self,
        state: &mut S,
        _manager: &mut EM,
        _input: &I,
        observers: &OT,
        _exit_kind: &ExitKind,
    ) -> Result<bool, Error> {
        let observer = self.observer(observers)?;
        if !observer.is_novel(&self.history) {
            return Ok(false);
        }
        let calibrated = state.named_metadata_map().get::<MapFeedbackMetadata<u8>>(&self.name);
        let unstable = calibrated.map_or(&[][..], |calibrated| &calibrated.history_map);
        let stable = |edge: u32| unstable.get(edge as usize) != Some(&UNSTABLE);
        let novel = |(edge, class): Hit| self.history.is_novel(edge, class) && stable(edge);
        Ok(unstable.is_empty() || observer.touched().into_iter().any(novel))
    }

    fn append_metadata(
        &mut self,
        state: &mut S,
        manager: &mut EM,
        observers: &OT,
        testcase: &mut Testcase<I>,
    ) -> Result<(), Error> {
        let observer = self.observer(observers)?;
        let (hits, total) = (observer.touched(), observer.total());
        if O::NOVELTIES {
            let novel = hits.iter().filter(|(edge, class)| self.history.is_novel(*edge, *class));
            testcase.add_metadata(MapNoveltiesMetadata::new(novel.map(|(edge, _)| *edge as usize).collect()));
        }
        if O::INDICES {
            let indices = MapIndexesMetadata::new(hits.iter().map(|(edge, _)| *edge as usize).collect());
            testcase.try_add_metadata(indices).map_err(|_| {
                Error::key_exists("a testcase takes the indices of one observer: let only one track them")
            })?;
        }
        for (edge, class) in &hits {
            self.history.raise(*edge, *class);
        }
        testcase.add_metadata(TouchedMetadata { hits });
        self.tell(state, manager, total)
    }
}

impl<O> NoveltyFeedback<O> {
    /// Says how much is covered: in the state, for calibration, and to monitors.
    fn tell<EM, I, S>(&self, state: &mut S, manager: &mut EM, total: u64) -> Result<(), Error>
    where
        EM: EventFirer<I, S>,
        S: HasNamedMetadata + HasExecutions,
    {
        let covered = self.history.covered();
        if let Some(known) = state.named_metadata_map_mut().get_mut::<MapFeedbackMetadata<u8>>(&self.name) {
            known.num_covered_map_indexes = covered as usize;
        }
        if total == 0 {
            return Ok(());
        }
        let value = UserStats::with_tag(UserStatsValue::Ratio(covered, total), AggregatorOps::Avg, TAG_MAP);
        let event = Event::UpdateUserStats { name: self.name.clone(), value, phantom: std::marker::PhantomData };
        let executions = *state.executions();
        manager.fire(state, EventWithStats::with_current_time(event, executions))
    }
}
