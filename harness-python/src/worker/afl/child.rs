//! The child: waits, runs the input that lies there, says how it ended.
//!
//! Owns the process: it never returns to the server's code. Knows nothing of the fuzzer's pipes.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use hitmap_wire::control;
use hitmap_wire::outcome::Outcome;
use pyo3::prelude::*;

use super::input::Inputs;
use super::map::AflMap;
use crate::worker::limits;
use crate::worker::outcome::{self, Ended, Harness};
use crate::worker::raised::Raised;

/// How an exception is told that the harness does not expect: python-afl's signal, so that the names of
/// AFL's crash files tell exceptions (`sig:10`) from aborts and faults of C++ code.
pub const RAISED: i32 = libc::SIGUSR1;

/// What a child has.
pub struct Child {
    /// Where inputs come from.
    pub inputs: Inputs,
    /// Where coverage goes.
    pub map: AflMap,
    /// What to call.
    pub harness: Harness,
    /// Whether to write tracebacks to standard error.
    pub explains: bool,
}

impl Child {
    /// Lives as the child of `server`, and ends the process.
    pub fn live(&mut self, py: Python<'_>, wake: OwnedFd, done: OwnedFd, server: i32) -> ! {
        // A panic must not unwind into the server's Python frames, which this process has too.
        let code = match catch_unwind(AssertUnwindSafe(|| self.work(py, wake, done, server))) {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => {
                eprintln!("hitmap.worker: {error}");
                3
            }
            Err(_) => 3,
        };
        // SAFETY: ends the process without running anybody's exit handlers: they are the server's.
        unsafe { libc::_exit(code) }
    }

    fn work(&mut self, py: Python<'_>, wake: OwnedFd, done: OwnedFd, server: i32) -> PyResult<()> {
        // Never closed here: the target may have closed them, and opened others.
        let (wake, done) = (ManuallyDrop::new(wake), ManuallyDrop::new(done));
        limits::die_with(server);
        limits::lead_a_group();
        limits::die_when_asked();
        limits::restore_statuses();
        limits::notice_forks();
        // What the fork itself ran in instrumented libraries belongs to no input.
        self.map.discard();
        let mut input = Vec::new();
        loop {
            // Detached, so that Python threads of the target can run meanwhile.
            py.detach(|| control::wait(wake.as_fd()))?;
            self.inputs.read(&mut input)?;
            let ended = self.run(py, &input);
            limits::end_if_forked_again();
            self.map.take();
            control::add(done.as_fd(), 1 + u64::from(status(ended)))?;
            if outcome::collect_garbage(py)? {
                self.map.discard();
            }
        }
    }

    fn run(&self, py: Python<'_>, input: &[u8]) -> Ended {
        let outcome = outcome::run(py, &self.harness, input);
        outcome.map_or_else(|| outcome::raised(py, |raised| self.explained(raised)), Ended::quietly)
    }

    fn explained(&self, raised: &Raised<'_>) -> Ended {
        if self.explains {
            let report = raised.describe(&self.harness);
            // A report has the title, the frames, and the traceback, with blank lines between.
            if let Some(traceback) = report.splitn(3, "\n\n").last() {
                eprint!("{traceback}");
            }
        }
        raised.ended()
    }
}

/// The wait status that tells of an outcome.
fn status(ended: Ended) -> u32 {
    match ended.outcome {
        Outcome::Ok | Outcome::Rejected => 0,
        Outcome::Exit => (ended.value & 0xFF) << 8,
        _ => RAISED as u32,
    }
}

/// The wait status in what a child said; `None` when no child of ours says such a thing.
pub fn told(word: u64) -> Option<i32> {
    let status = i32::try_from(word.checked_sub(1)?).ok()?;
    (status == RAISED || (status & 0xFF == 0 && status <= 0xFF00)).then_some(status)
}
