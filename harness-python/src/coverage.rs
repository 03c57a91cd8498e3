//! The runtime's view of this process as Python functions; `python/hitmap/coverage.py` makes the
//! class of them.
//!
//! Edges are numbered densely, module after module. A map is one class byte an edge.

use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};

use hitmap_observers::snapshot::ModuleId;
use hitmap_wire::identity::Identity;
use pyo3::exceptions::{PyIndexError, PyMemoryError, PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::places::{self, Place};
use crate::runtime::{self, ModuleRecord};

/// One instrumented library: of this process, or of a snapshot.
#[pyclass(frozen, module = "hitmap._native")]
#[derive(Clone)]
pub struct Module {
    id: ModuleId,
    /// The dense number of its first edge, in the map that it was listed for.
    #[pyo3(get)]
    pub first: u64,
    /// How many of its edges were hit.
    #[pyo3(get)]
    hits: u32,
    /// True when it did not fit into the map and is not counted.
    #[pyo3(get)]
    pub refused: bool,
    /// How many edges it has.
    #[pyo3(get)]
    pub edges: u32,
}

#[pymethods]
impl Module {
    /// The library of a file as a process would count it, for a map whose dense number of this
    /// library's first edge is `first`. Raises `ValueError`, which names the file.
    #[staticmethod]
    fn of_file(path: std::path::PathBuf, first: u64) -> PyResult<Module> {
        let id = ModuleId::of_file(path).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Module::kept(&id, first, 0))
    }

    /// The file it was loaded from.
    #[getter]
    fn path(&self) -> &str {
        &self.id.path
    }

    /// The file's name without folders.
    #[getter]
    fn name(&self) -> &str {
        &self.id.name
    }

    /// Its build-id, or a hash of its code, as hexadecimal digits.
    #[getter]
    fn identity(&self) -> String {
        self.id.identity.to_string()
    }

    /// Where one of its edges is in the source, by the edge's number within the library, from 0 on.
    /// Reads the library's file. Raises `IndexError` when there is no such edge, `OSError` when the
    /// file cannot be read, and `ValueError` when it is another build by now or has no addresses.
    fn r#where(&self, local: u32) -> PyResult<Place> {
        places::place(&self.id, local)
    }

    fn __repr__(&self) -> String {
        let refused = if self.refused { ", refused: the map is full" } else { "" };
        format!("<{} {}/{} edges{refused}>", self.name(), self.hits, self.edges)
    }
}

impl Module {
    /// What names it on every machine.
    pub fn id(&self) -> ModuleId {
        self.id.clone()
    }

    /// The dense number after its last edge.
    fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.edges))
    }

    /// A library as a snapshot keeps it.
    pub fn kept(id: &ModuleId, first: u64, hits: u32) -> Module {
        Module { edges: id.edges, id: id.clone(), first, hits, refused: false }
    }

    fn of(record: &ModuleRecord) -> Module {
        let path = record.path.split(|byte| *byte == 0).next().unwrap_or_default();
        let path = String::from_utf8_lossy(path).into_owned();
        let identity = &record.identity[..(record.identity_len as usize).min(record.identity.len())];
        let id = ModuleId {
            identity: Identity::new(identity),
            kind: record.kind,
            edges: record.edges,
            name: path.rsplit('/').next().unwrap_or(&path).to_owned(),
            path,
            below: String::new(),
        };
        let refused = record.refused != 0;
        Module { id, first: record.first, hits: record.hits, refused, edges: record.edges }
    }
}

/// Edges known now; grows when an instrumented library is loaded.
#[pyfunction]
pub fn total() -> PyResult<u64> {
    let runtime = runtime::needed()?;
    // SAFETY: the function may be called at any time from any thread, as all of the ABI.
    Ok(unsafe { (runtime.total)() })
}

/// Edges hit since the last reset, push or restore.
#[pyfunction]
pub fn hits() -> PyResult<u64> {
    let runtime = runtime::needed()?;
    // SAFETY: as in `total`.
    Ok(unsafe { (runtime.hits)() })
}

/// Forgets all hits.
#[pyfunction]
pub fn reset() -> PyResult<()> {
    let runtime = runtime::needed()?;
    // SAFETY: as in `total`.
    unsafe { (runtime.reset)() };
    Ok(())
}

/// Puts the view aside and starts an empty one.
#[pyfunction]
pub fn push() -> PyResult<()> {
    let runtime = runtime::needed()?;
    // SAFETY: as in `total`.
    checked(unsafe { (runtime.push)() })
}

/// Merges the view that was put aside last into the current one.
#[pyfunction]
pub fn pop() -> PyResult<()> {
    let runtime = runtime::needed()?;
    // SAFETY: as in `total`.
    checked(unsafe { (runtime.pop)() })
}

/// The view: one class byte an edge, `total()` of them.
#[pyfunction]
pub fn copy(py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
    let runtime = runtime::needed()?;
    // SAFETY: as in `total`.
    let total = unsafe { (runtime.total)() } as usize;
    PyBytes::new_with(py, total, |classes| {
        // SAFETY: the buffer has `total` writable bytes; a library that is loaded meanwhile is cut.
        unsafe { (runtime.copy)(classes.as_mut_ptr(), classes.len()) };
        Ok(())
    })
}

/// Replaces the view. Edges that `classes` lacks are not hit.
#[pyfunction]
pub fn restore(classes: &[u8]) -> PyResult<()> {
    let runtime = runtime::needed()?;
    // SAFETY: the buffer is as long as is said.
    checked(unsafe { (runtime.restore)(classes.as_ptr(), classes.len()) })
}

/// Merges into the view, the larger class of each edge.
#[pyfunction]
pub fn merge(classes: &[u8]) -> PyResult<()> {
    let runtime = runtime::needed()?;
    // SAFETY: the buffer is as long as is said.
    checked(unsafe { (runtime.merge)(classes.as_ptr(), classes.len()) })
}

/// The instrumented libraries, in the order of their edges.
#[pyfunction]
pub fn modules() -> PyResult<Vec<Module>> {
    let runtime = runtime::needed()?;
    let mut records: Vec<ModuleRecord> = Vec::new();
    loop {
        // SAFETY: the list has room for as many records as are asked for.
        let count = unsafe { (runtime.modules)(records.as_mut_ptr(), records.len()) };
        if count <= records.len() {
            return Ok(records[..count].iter().map(Module::of).collect());
        }
        // SAFETY: the record is plain data, and all zero is a value of it.
        records.resize(count, unsafe { std::mem::zeroed() });
    }
}

/// Where an edge is in the source, by its dense number. Raises `IndexError` when there is no such
/// edge, and otherwise what `Module.where` does.
#[pyfunction]
pub fn place(edge: &Bound<'_, PyAny>) -> PyResult<Place> {
    // A library keeps its numbers for the life of the process, so the list, which takes a look at
    // every edge to count the hits, is made only when a number is not in it.
    static KNOWN: Mutex<Vec<Module>> = Mutex::new(Vec::new());
    let number = edge.extract::<u64>();
    if let Err(error) = &number
        && !error.is_instance_of::<PyOverflowError>(edge.py())
    {
        return Err(PyTypeError::new_err("an edge is a whole number"));
    }
    if let Ok(number) = number {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |module: &Module| !module.refused && (module.first..module.end()).contains(&number);
        if !known.iter().any(holds) {
            *known = modules()?;
        }
        if let Some(module) = known.iter().find(|module| holds(module)) {
            return places::place(&module.id, (number - module.first) as u32);
        }
    }
    Err(PyIndexError::new_err(format!("edges go from 0 to {}, there is no edge {edge}", total()?.max(1) - 1)))
}

fn checked(code: c_int) -> PyResult<()> {
    match code {
        0 => Ok(()),
        -1 => Err(PyRuntimeError::new_err("pop without push: no view was put aside")),
        -2 => Err(PyValueError::new_err(
            "the map has more edges than this process knows: import the same instrumented libraries first",
        )),
        -4 => Err(PyMemoryError::new_err("the system refused memory for a view")),
        code => Err(PyRuntimeError::new_err(format!("hitmap's runtime reports error {code}"))),
    }
}
