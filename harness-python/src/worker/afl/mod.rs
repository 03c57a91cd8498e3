//! The worker under another fuzzer: AFL++'s fork-server protocol, as its target speaks it.
//!
//! The story of one worker:
//!
//! 1. The fuzzer makes a map in System V shared memory (`__AFL_SHM_ID`), mostly another segment for
//!    inputs (`__AFL_SHM_FUZZ_ID`), two pipes on descriptors 198 and 199, and starts
//!    `python -m hitmap.worker HARNESS.py`.
//! 2. The server makes a region of hitmap's own, joins it, and imports the harness. All that is loaded
//!    now has its places in AFL's map; how many, the hello says.
//! 3. It greets. In the old version one word has everything: flags, and the map's size in between; the
//!    fuzzer answers one word if it takes up inputs in shared memory. In version 1 the words are a
//!    version, its complement as the answer, options, the size, and the version once more.
//! 4. For each run the fuzzer writes an input, clears the map, and asks: one word, not 0 when it killed
//!    the last run. The server answers with the child's process id, and later with a wait status.
//! 5. Between the two, the server wakes the child, which reads the input, runs it, carries what was
//!    touched over into AFL's map, and says how it ended. When it dies instead, the server reads the
//!    region in its place, and forks another one for the next run.
//! 6. A run that takes too long is killed by the fuzzer, by the process id that it was told. The server
//!    sees the end as any other.
//! 7. When the fuzzer closes its pipes, or dies, the server kills its child and ends.
//!
//! AFL's own runtime stops its child by SIGSTOP between runs. Ours waits on an eventfd, which costs
//! less, and the fuzzer cannot tell. An exception that the harness does not expect is told as a death by
//! SIGUSR1, as python-afl does it, while the child lives on.
//!
//! | module | owns |
//! |---|---|
//! | [`segment`] | shared memory that the fuzzer made |
//! | [`map`] | AFL's map, and the way of an edge into it |
//! | [`input`] | where inputs come from |
//! | [`protocol`] | the pipes, and the hello in both versions |
//! | [`server`] | requests, and one child at a time |
//! | [`child`] | the loop over inputs |

mod child;
mod input;
mod map;
mod protocol;
mod segment;
mod server;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use hitmap_wire::PAGE;
use hitmap_wire::region::{self, MODE_ENGINE, Region};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;

use super::barrier;
use super::limits;
use super::outcome::Harness;
use crate::runtime;
use input::Inputs;
use map::AflMap;
use protocol::{Pipes, Version};
use segment::{Access, Segment};
use server::Server;

const MAP: &str = "__AFL_SHM_ID";
const INPUT: &str = "__AFL_SHM_FUZZ_ID";

/// Serves a fuzzer that speaks AFL++'s protocol until it is gone; without its pipes, runs one input.
/// Returns the process's exit code, or dies of the signal that the one input died of.
///
/// `map` and `inputs` are the values of `__AFL_SHM_ID` and `__AFL_SHM_FUZZ_ID`, `file` is where the
/// fuzzer puts inputs otherwise (standard input when there is none), `version` is that of the protocol, 0
/// for the old one, and `host` the Python half. Raises `ValueError` when something is not as a fuzzer
/// hands it over, `OSError` when the system refuses something, and what importing the harness raises.
#[pyfunction]
pub fn serve_afl(
    py: Python<'_>,
    map: &str,
    inputs: Option<&str>,
    file: Option<PathBuf>,
    version: u32,
    host: Bound<'_, PyAny>,
) -> PyResult<i32> {
    let version = match version {
        0 => Version::Old,
        1 => Version::One,
        _ => return Err(PyValueError::new_err("the fork-server protocol has versions 0 and 1")),
    };
    let segment = Segment::attach(MAP, map, Access::Write).map_err(PyValueError::new_err)?;
    let shared = inputs.map(|id| Segment::attach(INPUT, id, Access::Read)).transpose();
    let shared = shared.map_err(PyValueError::new_err)?;
    let mut inputs = Inputs::of(file)?;
    let pipes = Pipes::inherited();

    let region = join_region(segment.len())?;
    limits::no_core_files();
    host.call_method1(intern!(py, "watch_crashes"), (libc::STDERR_FILENO,))?;
    let harness = Harness::load(py, &host)?;
    limits::keep_statuses();
    barrier::prepare();
    barrier::call_method(&host, intern!(py, "settle"), ())?;

    let mut map = AflMap::new(region, segment);
    let size = map.tell_size();
    let Some(mut pipes) = pipes else {
        return Server::new(py, &host, harness, map, inputs, None).run_alone();
    };
    let greeted = py.detach(|| pipes.greet(version, size, shared.is_some()))?;
    if let Some(segment) = shared.filter(|_| greeted.shared_input) {
        inputs = Inputs::Shared(segment);
    }
    Server::new(py, &host, harness, map, inputs, Some(pipes)).serve(greeted.first)
}

/// Makes a region and moves this process onto it. Whatever a library needs to fill a fuzzer's map of
/// `wanted` edges fits: each library begins at a page, so it may take up to a page more than in AFL's map.
fn join_region(wanted: usize) -> PyResult<Region> {
    let runtime = runtime::needed()?;
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).max(region::DEFAULT_EDGES);
    let edges = wanted.saturating_add((region::MODULES * PAGE) as u32).min(region::MAX_EDGES);
    let token = RandomState::new().build_hasher().finish();
    let (fd, region) = Region::create(edges, token, MODE_ENGINE)?;
    // SAFETY: the descriptor is open; no other thread runs instrumented code before the import.
    match unsafe { (runtime.attach)(fd.as_raw_fd(), token) } {
        0 => Ok(region),
        code => Err(PyOSError::new_err(format!("the runtime cannot join a map of its own ({code})"))),
    }
}
