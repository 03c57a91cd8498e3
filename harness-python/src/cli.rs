//! The command line, reached from Python.

use std::ffi::OsString;

use hitmap_fuzzer::cli::main;
use hitmap_fuzzer::launcher::Front;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Runs the command line with `argv` (without the program's name) and gives its exit code. `python`
/// is the command that starts this command line again, interpreter first. Python runs meanwhile; the
/// caller sees to it that SIGINT is not Python's to handle.
#[pyfunction]
pub fn cli(py: Python<'_>, argv: Vec<OsString>, python: Vec<OsString>) -> PyResult<i32> {
    let interpreter = python.first().cloned();
    let interpreter = interpreter.ok_or_else(|| PyValueError::new_err("python= wants a command, interpreter first"))?;
    let arguments = std::iter::once("hitmap".into()).chain(argv).collect();
    let front = Front { hitmap: python, python: interpreter };
    Ok(py.detach(|| main(arguments, front)))
}
