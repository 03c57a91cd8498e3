//! The command line, reached from Python.

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;

/// Runs the command line with `argv` (without the program's name) and gives its exit code. `python`
/// is the command that starts this command line again: interpreter first.
#[pyfunction]
pub fn cli(argv: Vec<String>, python: Vec<String>) -> PyResult<i32> {
    let _ = (argv, python);
    Err(PyNotImplementedError::new_err("this build of hitmap has no command line yet"))
}
