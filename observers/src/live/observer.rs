//! The observer of edges: LibAFL's map observer over a live map.
//!
//! Before a run it clears what ran since the last; after it, it takes out what was touched and leaves
//! the map clean. Classes are what LibAFL's `HitcountsMapObserver` would make of the counts, so it is
//! given to feedbacks as it is, not wrapped. Indices are the region's numbers of edges, which never
//! move; the map grows when libraries are loaded later. Knows nothing of what is new.

use std::borrow::Cow;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use hitmap_wire::class::Class;
use hitmap_wire::region::MAX_EDGES;
use hitmap_wire::sweep::Plan;
use libafl::Error;
use libafl::executors::ExitKind;
use libafl::observers::{DifferentialObserver, MapObserver, Observer, ObserverWithHashField};
use libafl::state::HasExecutions;
use libafl_bolts::{HasLen, Named, ToSlice};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::Xxh3Default;

use super::functions::Functions;
use super::{LiveMap, MapError, Reader, Run};
use crate::observer::Hit;

/// Which edges a run touched, and how often.
///
/// It satisfies what LibAFL asks of a map: `MaxMapFeedback`, schedulers that minimise, weigh or hash,
/// calibration, and `track_indices` and `track_novelties`. With [`crate::feedback::NoveltyFeedback`] a
/// run costs what it touched. Not to be wrapped in `HitcountsMapObserver`, which the compiler refuses.
///
/// One that was serialized and read again is a record of a run; it reads no map.
#[derive(Debug)]
pub struct EdgeObserver {
    name: Cow<'static, str>,
    run: Run,
    source: Option<Source>,
}

#[derive(Debug)]
struct Source {
    reader: Reader,
    plan: Plan,
    /// Entries of the module table that the plan knows.
    known: usize,
    /// LibAFL's count of executions after the run that was taken last. While it stands there, nothing
    /// has run since, and the map is clean.
    clean_at: Option<u64>,
    functions: Option<Functions>,
}

impl EdgeObserver {
    /// An observer of every edge of `map`.
    ///
    /// # Errors
    /// [`MapError::Taken`] when the map has an observer already.
    pub fn new(name: impl Into<Cow<'static, str>>, map: &LiveMap) -> Result<EdgeObserver, MapError> {
        EdgeObserver::over(name.into(), map, None)
    }

    /// An observer of functions: a function is its first edge, and has the class of how often it was
    /// entered, or 1 when it was entered before the run and only ran on. Libraries must be compiled
    /// with `pc-table`, as all that `hitmap flags` prints are.
    ///
    /// # Errors
    /// [`MapError::Taken`]. A library without a table of addresses, or whose file is gone, is an error
    /// of the first run that sees it.
    pub fn of_functions(name: impl Into<Cow<'static, str>>, map: &LiveMap) -> Result<EdgeObserver, MapError> {
        EdgeObserver::over(name.into(), map, Some(Functions::default()))
    }

    fn over(name: Cow<'static, str>, map: &LiveMap, functions: Option<Functions>) -> Result<EdgeObserver, MapError> {
        let source = Source { reader: map.reader()?, plan: Plan::default(), known: 0, clean_at: None, functions };
        let mut run = Run::default();
        run.set_len(map.len());
        Ok(EdgeObserver { name, run, source: Some(source) })
    }

    /// What the last run touched.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Edges of all libraries that count; 0 for a record.
    pub fn total(&self) -> u64 {
        self.source.as_ref().map_or(0, |source| source.reader.0.edges())
    }

    /// Forgets the last run, and clears the map of what ran since.
    ///
    /// # Errors
    /// As for [`EdgeObserver::take`].
    pub fn clear(&mut self) -> Result<(), MapError> {
        self.run.clear();
        let Some(source) = &mut self.source else { return Ok(()) };
        source.catch_up()?;
        let map = &source.reader.0;
        if source.running() {
            source.plan.drain_running(map.region(), |_, _| {});
        } else {
            source.plan.drain_blocks(map.region(), self.run.parts().0, |_| {});
            self.run.clear();
        }
        Ok(())
    }

    /// Takes out of the map what was touched since it was cleared.
    ///
    /// # Errors
    /// [`MapError::Full`] when a library did not fit, [`MapError::Places`] when functions are observed
    /// and cannot be told apart.
    pub fn take(&mut self) -> Result<(), MapError> {
        self.run.clear();
        let Some(source) = &mut self.source else { return Ok(()) };
        source.catch_up()?;
        let map = &source.reader.0;
        // The end of what is read, where the table was scribbled over.
        self.run.set_len(map.len().max(source.plan.end()));
        let (blocks, hits) = self.run.parts();
        if source.running() {
            source.plan.drain_running(map.region(), |edge, class| hits.push((edge, class)));
        } else {
            source.plan.drain_blocks(map.region(), blocks, |some| hits.extend_from_slice(some));
        }
        if let Some(functions) = &source.functions {
            let folded = functions.fold(self.run.hits().collect());
            self.run.clear();
            *self.run.parts().1 = folded;
        }
        Ok(())
    }
}

impl Source {
    fn running(&self) -> bool {
        self.reader.0.0.running
    }

    #[inline]
    fn catch_up(&mut self) -> Result<(), MapError> {
        let map = &self.reader.0;
        map.gather();
        if map.region().module_count() == self.known {
            return Ok(());
        }
        self.plan_anew()
    }

    #[cold]
    fn plan_anew(&mut self) -> Result<(), MapError> {
        let map = &self.reader.0;
        if let Some(refused) = map.refused() {
            return Err(refused);
        }
        let count = map.region().module_count();
        let modules = map.modules();
        if let Some(functions) = &mut self.functions {
            functions.learn(&modules)?;
        }
        self.plan = Plan::of(&modules, map.capacity());
        self.known = count;
        Ok(())
    }
}

fn failed(error: MapError) -> Error {
    Error::illegal_state(error.to_string())
}

impl Named for EdgeObserver {
    fn name(&self) -> &Cow<'static, str> {
        &self.name
    }
}

/// Taking a run out of the map leaves it clean, and a target that stands still keeps it so, unless it
/// was run by somebody who does not know this observer, as a tracing stage does. LibAFL counts that.
impl<I, S: HasExecutions> Observer<I, S> for EdgeObserver {
    fn pre_exec(&mut self, state: &mut S, _input: &I) -> Result<(), Error> {
        match &self.source {
            Some(source) if !source.running() && source.clean_at == Some(*state.executions()) => {
                self.run.clear();
                Ok(())
            }
            _ => self.clear().map_err(failed),
        }
    }

    fn post_exec(&mut self, state: &mut S, _input: &I, _exit_kind: &ExitKind) -> Result<(), Error> {
        self.take().map_err(failed)?;
        if let Some(source) = &mut self.source {
            source.clean_at = Some(*state.executions());
        }
        Ok(())
    }
}

impl<OTA, OTB, I, S: HasExecutions> DifferentialObserver<OTA, OTB, I, S> for EdgeObserver {}

impl HasLen for EdgeObserver {
    fn len(&self) -> usize {
        self.run.len()
    }
}

impl AsRef<EdgeObserver> for EdgeObserver {
    fn as_ref(&self) -> &EdgeObserver {
        self
    }
}

impl AsMut<EdgeObserver> for EdgeObserver {
    fn as_mut(&mut self) -> &mut EdgeObserver {
        self
    }
}

impl<'a> ToSlice<'a> for EdgeObserver {
    type Entry = Class;
    type SliceRef = &'a [Class];

    fn to_slice(&'a self) -> &'a [Class] {
        self.run.classes()
    }
}

impl MapObserver for EdgeObserver {
    type Entry = Class;

    fn get(&self, idx: usize) -> Class {
        self.run.class(idx)
    }

    fn set(&mut self, idx: usize, val: Class) {
        self.run.set(idx, val);
    }

    fn usable_count(&self) -> usize {
        self.run.len()
    }

    fn count_bytes(&self) -> u64 {
        self.run.hits().count() as u64
    }

    fn initial(&self) -> Class {
        0
    }

    fn reset_map(&mut self) -> Result<(), Error> {
        self.clear().map_err(failed)
    }

    fn to_vec(&self) -> Vec<Class> {
        self.run.classes().to_vec()
    }

    fn how_many_set(&self, indexes: &[usize]) -> usize {
        indexes.iter().filter(|edge| self.run.class(**edge) != 0).count()
    }
}

impl EdgeObserver {
    /// A hash of what was touched, whatever the order, that costs no look at the map.
    fn hash_of_run(&self) -> u64 {
        let each = BuildHasherDefault::<Xxh3Default>::default();
        self.run.hits().fold(0u64, |sum, hit| sum.wrapping_add(each.hash_one(hit)))
    }
}

impl Hash for EdgeObserver {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash_of_run());
    }
}

impl ObserverWithHashField for EdgeObserver {
    fn hash(&self) -> Option<u64> {
        Some(self.hash_of_run())
    }
}

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    name: Cow<'a, str>,
    len: usize,
    hits: Vec<Hit>,
}

impl Serialize for EdgeObserver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hits = self.run.hits().collect();
        Record { name: Cow::Borrowed(&self.name), len: self.run.len(), hits }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EdgeObserver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EdgeObserver, D::Error> {
        let Record { name, len, hits } = Record::deserialize(deserializer)?;
        let run = Run::from_hits(hits, len.min(MAX_EDGES as usize));
        Ok(EdgeObserver { name: Cow::Owned(name.into_owned()), run, source: None })
    }
}
