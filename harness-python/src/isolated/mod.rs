//! One run in a forked child, with a map of its own: the native half of `hitmap.isolated`.
//!
//! The process that forks makes a [`Twin`] of its map: a memory file for what is counted, and one
//! for the marks. The child enters it, and leaves everything there, however it ends. Whoever asked
//! for the run collects, which leaves both empty: a twin can serve the next run when no process is
//! left that counts into it. That is quicker, because pages that are there need not be made. Owns no
//! process and no clock; `python/hitmap/_fork.py` forks, waits and kills.

mod marks;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use hitmap_observers::snapshot::{Hit, Hits, Meta, ModuleId, ModuleMap, Snapshot as Map};
use hitmap_wire::mapping;
use hitmap_wire::modules::{self, Module};
use hitmap_wire::region::Region;
use hitmap_wire::sweep::Plan;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::runtime;
use crate::snapshot::{Snapshot, import_roots};
use marks::Marks;

/// What one run leaves: its map and its marks, in memory that outlives it.
#[pyclass(frozen, module = "hitmap._native")]
pub struct Twin {
    token: u64,
    map: OwnedFd,
    marks: OwnedFd,
    region: Region,
    /// What the child has marked so far.
    marked: Mutex<Marks>,
}

#[pymethods]
impl Twin {
    /// An empty map of the size of this process's. Raises `RuntimeError` without a runtime, `OSError`
    /// when the system refuses the memory.
    #[staticmethod]
    fn make() -> PyResult<Twin> {
        let runtime = runtime::needed()?;
        let mut token = 0;
        // SAFETY: the token is writable for the call.
        let map = unsafe { (runtime.twin)(&mut token) };
        if map < 0 {
            return Err(PyOSError::new_err("the system refused memory for the map of a run"));
        }
        // SAFETY: the runtime has just opened it for us.
        let map = unsafe { OwnedFd::from_raw_fd(map) };
        Self::of(map, mapping::memory_file(c"hitmap-marks", 0)?, token)
    }

    /// The twin that another process made; takes the descriptors over. Raises `ValueError` when they
    /// are not what they should be.
    #[staticmethod]
    fn join(map: RawFd, marks: RawFd, token: u64) -> PyResult<Twin> {
        // SAFETY: the caller received both for this, and gives them up.
        let (map, marks) = unsafe { (OwnedFd::from_raw_fd(map), OwnedFd::from_raw_fd(marks)) };
        Self::of(map, marks, token)
    }

    /// What `join` takes: both descriptors, which stay this object's, and the token.
    fn parts(&self) -> (RawFd, RawFd, u64) {
        (self.map.as_raw_fd(), self.marks.as_raw_fd(), self.token)
    }

    /// In a child that was just forked: counts into this map, from nothing. The child is killed when
    /// its parent ends, and leaves no core file. Raises `RuntimeError`.
    fn enter(&self) -> PyResult<()> {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: constants, and a limit that lives through the call.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::setrlimit(libc::RLIMIT_CORE, &none);
        }
        // SAFETY: a child that was just forked runs no other thread; the descriptor is a twin's.
        match unsafe { (runtime::needed()?.enter)(self.map.as_raw_fd(), self.token) } {
            0 => Ok(()),
            code => Err(PyRuntimeError::new_err(format!("a run cannot have a map of its own (error {code})"))),
        }
    }

    /// In the child: notes what was covered up to now under a name. Raises `OSError`.
    fn mark(&self, name: &str) -> PyResult<()> {
        self.gather();
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(marked.add(name, &self.region, self.marks.as_fd())?)
    }

    /// In the child, when the function has ended: brings in counters that live outside of the map.
    fn gather(&self) {
        if let Some(runtime) = runtime::present() {
            // SAFETY: the ABI may be called at any time.
            unsafe { (runtime.gather)() };
        }
    }

    /// When the child is gone: what it covered, and the marks in their order, each with what was
    /// covered up to there. The twin is empty afterwards. Raises `ValueError` when the map makes no sense.
    fn collect(&self, py: Python<'_>) -> PyResult<(Snapshot, Vec<(String, Snapshot)>)> {
        let roots = import_roots(py);
        py.detach(|| {
            let modules = modules::all(&self.region);
            let mut hits = Vec::new();
            let plan = Plan::of(&modules, self.region.layout().capacity);
            plan.drain(&self.region, |edge, class| hits.push((edge, class)));
            hits.sort_unstable();
            hits.dedup_by_key(|(edge, _)| *edge);
            let coverage = snapshot(&modules, &hits, &roots)?;
            let mut marks = Vec::new();
            // Edges of one mark are those since the mark before.
            let mut upto = vec![false; hits.len()];
            for (name, edges) in marks::read(self.marks.as_fd())? {
                for edge in edges {
                    if let Ok(at) = hits.binary_search_by_key(&edge, |(edge, _)| *edge) {
                        upto[at] = true;
                    }
                }
                let there = hits.iter().zip(&upto).filter(|(_, reached)| **reached).map(|(hit, _)| *hit);
                marks.push((name, snapshot(&modules, &there.collect::<Vec<_>>(), &roots)?));
            }
            marks::clear(self.marks.as_fd())?;
            Ok((coverage, marks))
        })
    }
}

impl Twin {
    fn of(map: OwnedFd, marks: OwnedFd, token: u64) -> PyResult<Twin> {
        let region = Region::attach(map.as_fd(), token).map_err(|e| PyValueError::new_err(e.to_string()))?;
        Ok(Twin { token, map, marks, region, marked: Mutex::default() })
    }
}

/// A snapshot of hits that rise, by the region's numbers. Hits of no library are left out.
fn snapshot(modules: &[Module], hits: &[(u32, u8)], roots: &[PathBuf]) -> PyResult<Snapshot> {
    let maps = modules.iter().filter(|module| !module.is_refused()).map(|module| {
        let range = module.range();
        let start = hits.partition_point(|(edge, _)| *edge < range.start);
        let end = hits.partition_point(|(edge, _)| *edge < range.end);
        // A record that a mad child wrote can make two libraries overlap, but no range turn round.
        let own = hits[start..end].iter().map(|&(edge, class)| Hit { edge: edge - range.start, class });
        ModuleMap::new(ModuleId::from(module).imported_from(roots), Hits::new(own.collect())?)
    });
    let maps = maps.collect::<Result<Vec<_>, _>>();
    let meta = Meta { tool: crate::snapshot::TOOL.into(), ..Meta::default() };
    maps.map(|maps| Map::new(maps, meta).into())
        .map_err(|e| PyValueError::new_err(format!("the run left a map that makes no sense: {e}")))
}

/// The bytes of a file from its start, as many as it has and memory allows.
fn whole(fd: BorrowedFd<'_>) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::from(fd.try_clone_to_owned()?);
    let len = mapping::file_len(fd)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| std::io::Error::from(std::io::ErrorKind::OutOfMemory))?;
    bytes.resize(len, 0);
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
