//! What a series of runs has covered so far, and what each of them adds.

use std::sync::{Mutex, PoisonError};

use hitmap_observers::snapshot::{Hit, Hits, Meta, ModuleId, ModuleMap, Snapshot as Map};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::snapshot::{Snapshot, bad, refuse_conflicts};

/// The coverage of all runs that it was updated with. An update costs what the run touched, however
/// much is known already.
#[pyclass(frozen, module = "hitmap._native")]
pub struct History {
    known: Mutex<Vec<Known>>,
}

/// One library: the largest class of each of its edges.
struct Known {
    id: ModuleId,
    classes: Vec<u8>,
    hits: u64,
}

#[pymethods]
impl History {
    /// A history that begins with a snapshot, or with nothing.
    #[new]
    #[pyo3(signature = (snapshot = None))]
    fn new(snapshot: Option<&Bound<'_, PyAny>>) -> PyResult<History> {
        let history = History { known: Mutex::default() };
        if let Some(snapshot) = snapshot {
            history.update(snapshot)?;
        }
        Ok(history)
    }

    /// Takes in a run, or a snapshot; returns the edges that were not known, with their classes in the
    /// run. Raises `ValueError`, and takes nothing in, when it is of another build of a library.
    fn update(&self, run: &Bound<'_, PyAny>) -> PyResult<Snapshot> {
        let coverage = if run.is_instance_of::<Snapshot>() { run.clone() } else { run.getattr("coverage")? };
        let coverage = coverage.cast::<Snapshot>()?.get();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = Vec::new();
        for module in coverage.map().modules() {
            places.push(known.iter().position(|known| known.id.key() == module.id().key()));
        }
        if places.contains(&None) {
            refuse_conflicts(&Map::new(empty(&known), Meta::default()), coverage.map())?;
        }
        let mut news = Vec::new();
        for (module, place) in coverage.map().modules().iter().zip(places) {
            let place = place.unwrap_or_else(|| {
                known.push(Known::new(module.id()));
                known.len() - 1
            });
            let new = known[place].update(module.hits());
            news.push(ModuleMap::new(module.id().clone(), Hits::new(new).map_err(bad)?).map_err(bad)?);
        }
        Ok(Map::new(news, coverage.map().meta.clone()).into())
    }

    /// Everything that is known.
    fn snapshot(&self) -> PyResult<Snapshot> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let maps = known.iter().map(|known| {
            let hits = (0..).zip(&known.classes).filter(|(_, class)| **class != 0);
            let hits = Hits::new(hits.map(|(edge, class)| Hit { edge, class: *class }).collect())?;
            ModuleMap::new(known.id.clone(), hits)
        });
        let maps = maps.collect::<Result<Vec<_>, _>>().map_err(bad)?;
        Ok(Map::new(maps, crate::snapshot::meta_of_now()).into())
    }

    /// Edges that are known to be hit.
    #[getter]
    fn hits(&self) -> u64 {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|known| known.hits).sum()
    }

    /// Edges that there are in the libraries that are known.
    #[getter]
    fn total(&self) -> u64 {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|known| u64::from(known.id.edges)).sum()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, (Snapshot,))> {
        Ok((slf.get_type(), (slf.get().snapshot()?,)))
    }

    fn __repr__(&self) -> String {
        format!("<history of {} of {} edges>", self.hits(), self.total())
    }
}

impl Known {
    fn new(id: &ModuleId) -> Known {
        // Fresh memory of the system: pages that no run touched cost nothing.
        Known { id: id.clone(), classes: vec![0; id.edges as usize], hits: 0 }
    }

    fn update(&mut self, hits: &Hits) -> Vec<Hit> {
        let mut new = Vec::new();
        for hit in hits {
            // A module's hits are edges that it has.
            let class = &mut self.classes[hit.edge as usize];
            if *class == 0 {
                new.push(*hit);
            }
            *class = hit.class.max(*class);
        }
        self.hits += new.len() as u64;
        new
    }
}

fn empty(known: &[Known]) -> Vec<ModuleMap> {
    known.iter().filter_map(|known| ModuleMap::new(known.id.clone(), Hits::default()).ok()).collect()
}
