//! Where an edge is in the source, as a Python object.
//!
//! Owns the opened libraries, for the life of the process: debug information is read once. Knows no
//! rule of its own; `hitmap_observers::places` has them.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Mutex, PoisonError};

use hitmap_observers::places::{Library, PlacesError};
use hitmap_observers::snapshot::ModuleId;
use pyo3::exceptions::{PyFileNotFoundError, PyIndexError, PyOSError, PyValueError};
use pyo3::prelude::*;

/// Where an edge is in the source. Places are ordered by library, source file and line.
#[pyclass(frozen, get_all, eq, ord, hash, module = "hitmap._native")]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The library's file.
    pub path: String,
    /// The source file; of a package that `hitmap build` made, its path within the package. Empty
    /// when it is not known.
    pub file: String,
    /// The line, from 1 on; 0 when it is not known.
    pub line: u32,
    /// The function, demangled; empty when it has no name.
    pub function: String,
    /// True where the function begins.
    pub entry: bool,
    /// The address within the library's file.
    pub offset: u64,
}

#[pymethods]
impl Place {
    fn __repr__(&self) -> String {
        let library = self.path.rsplit('/').next().unwrap_or(&self.path);
        let function = if self.function.is_empty() { "?" } else { &self.function };
        let at = match (self.file.as_str(), self.line) {
            ("", _) => format!("{library}+{:#x}", self.offset),
            (file, 0) => file.to_owned(),
            (file, line) => format!("{file}:{line}"),
        };
        format!("<{function} at {at}>")
    }
}

/// The place of an edge, by its number within the library.
pub fn place(module: &ModuleId, local: u32) -> PyResult<Place> {
    // Held only under Python's own lock, so no fork of the interpreter ever finds it taken.
    static OPENED: Mutex<Option<HashMap<ModuleId, Library>>> = Mutex::new(None);
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let opened = opened.get_or_insert_default();
    if !opened.contains_key(module) {
        opened.insert(module.clone(), Library::of(module).map_err(error)?);
    }
    let found = opened.get(module).and_then(|library| library.place(local)).ok_or_else(|| {
        PyIndexError::new_err(format!("{} has edges 0 to {}, no edge {local}", module.name, module.edges.max(1) - 1))
    })?;
    let (function, file, line, entry, offset) = (found.function, found.file, found.line, found.entry, found.offset);
    Ok(Place { path: module.path.clone(), function, file, line, entry, offset })
}

fn error(error: PlacesError) -> PyErr {
    let text = error.to_string();
    match error {
        PlacesError::Unreadable { cause, .. } if cause.kind() == ErrorKind::NotFound => {
            PyFileNotFoundError::new_err(text)
        }
        PlacesError::Unreadable { .. } => PyOSError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}
