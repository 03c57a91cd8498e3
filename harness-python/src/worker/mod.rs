//! The process that runs the target: a server that imported the harness, and its forked child.
//!
//! `hitmap_wire::control` tells the story that both sides follow. The server stays small and calm:
//! it forks, kills and reaps, and never runs an input. Everything dangerous happens in the child.
//!
//! | module | owns |
//! |---|---|
//! | [`shared`] | what the engine handed over, opened and checked |
//! | [`forked`] | one child, as its parent sees it |
//! | [`server`] | the control socket, the import, and one child at a time |
//! | [`child`] | the loop over inputs |
//! | [`barrier`] | the end of the target's stack |
//! | [`outcome`] | one call of the harness and what became of it |
//! | [`origin`] | where an exception was made, below Python |
//! | [`raised`] | an exception that ended a run |
//! | [`laps`] | where the time of a run goes, when somebody asks |
//! | [`weight`] | how heavy the child is, and whose weight it is |
//! | [`making`] | inputs that the harness's own functions make |
//! | [`judge`] | whether a run touched something that the history lacks |
//! | [`crash`] | what a fatal signal leaves behind |
//! | [`samples`] | looks at a run that takes too long |
//! | [`sanitizer`] | a sanitizer's runtime in the process, and Python's stack at its end |
//! | [`registers`] | the processor's registers at a signal, one file a processor |
//! | [`threads`] | whether threads of the target live |
//! | [`listed`] | the files in the process, as the batch file lists them |
//! | [`limits`] | what the process may use and hear |
//! | [`afl`] | the same, when AFL++ or LibAFL's fork-server executor is the fuzzer |
//!
//! Python's part, `python/hitmap/worker.py`, is the **host**: it imports the harness, forks through
//! `os.fork` so that CPython's fork handlers run, and writes tracebacks.

mod afl;
mod barrier;
mod child;
pub mod crash;
mod forked;
mod judge;
mod laps;
mod limits;
mod listed;
mod making;
mod origin;
mod outcome;
mod raised;
#[cfg_attr(target_arch = "x86_64", path = "registers/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "registers/aarch64.rs")]
mod registers;
mod samples;
pub mod sanitizer;
mod server;
mod shared;
mod threads;
mod weight;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

pub use afl::serve_afl;
pub use samples::take_sample;
use shared::Shared;

/// Serves one engine until it closes its socket; returns the process's exit code.
///
/// `fds` is the argument of `--fds`, `map` the value of `HITMAP_MAP`, `memory_mb` what one child may
/// use beyond what it is born with, in MiB (0: no limit), `host` the Python half. Raises `ValueError`
/// when the descriptors are not those that an engine hands over; nothing was changed then.
#[pyfunction]
pub fn serve(py: Python<'_>, fds: &str, map: Option<&str>, memory_mb: u64, host: Bound<'_, PyAny>) -> PyResult<i32> {
    let (shared, maps) = Shared::open(fds, map).map_err(PyValueError::new_err)?;
    Ok(server::serve(py, shared, maps, memory_mb, &host))
}
