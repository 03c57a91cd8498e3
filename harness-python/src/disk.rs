//! `hitmap._native.read_file`: how the package reads files that somebody else may have made.

use std::path::PathBuf;

use hitmap_observers::disk;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The bytes of an ordinary file that has `most` of them or less; never waits for a pipe.
///
/// # Errors
/// `OSError`, with the path in its text.
#[pyfunction]
pub fn read_file(py: Python<'_>, path: PathBuf, most: u64) -> PyResult<Bound<'_, PyBytes>> {
    Ok(PyBytes::new(py, &py.detach(|| disk::read(&path, most))?))
}
