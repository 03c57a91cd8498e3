//! Looks at where a child is that takes too long.
//!
//! A stack at one moment is chance; what stays over several moments names the hang. A look is a signal to the child,
//! which answers with a sample in the batch file and goes on. The next signal waits for the answer: signals that are
//! delivered together show the same place.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hitmap_wire::batch::notes::{SAMPLES, Sample};
use hitmap_wire::control::sample_signal;

use super::WorkerError;
use super::files::Files;
use super::limits::catches;
use super::server::Server;

/// Milliseconds between two looks. They are uneven because a loop may go round in even steps.
const GAPS: [u64; 8] = [1, 2, 1, 4, 1, 3, 2, 1];

/// What a look may take in all, when the child is slow to answer.
const PATIENCE: Duration = Duration::from_millis(40);

/// Samples that one look can bring: where the thread is, and where Python comes to next.
const A_LOOK: usize = 2;

/// What happened while a child was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It works on.
    Working,
    /// It is through, or it ended: there is a message to take.
    Spoke,
}

/// Looks at one input's run.
#[derive(Debug)]
pub struct Looks {
    /// The number of its first sample: the batch file has those of earlier inputs, too.
    first: usize,
    /// How often it was looked at.
    pub taken: usize,
}

impl Looks {
    /// None yet, of the input that runs now.
    pub fn new(files: &Files) -> Looks {
        Looks { first: files.batch.samples_taken(), taken: 0 }
    }

    /// Takes `count` looks, as far as there is room for them and the child answers.
    ///
    /// # Errors
    /// [`WorkerError::Broken`] when the server is gone.
    pub fn take(&mut self, count: usize, pid: i32, files: &Files, server: &Server) -> Result<Looked, WorkerError> {
        if !catches(pid, sample_signal()) {
            return Ok(Looked::Working);
        }
        let until = Instant::now() + PATIENCE;
        self.taken += 1;
        for gap in GAPS.iter().cycle().take(count) {
            let before = files.batch.samples_taken();
            if before + A_LOOK > SAMPLES {
                break;
            }
            server.kill(sample_signal())?;
            let mut left = *gap;
            // The answer comes within microseconds, unless the machine is busy with others.
            while left > 0 || files.batch.samples_taken() == before {
                if Instant::now() >= until {
                    return Ok(Looked::Working);
                }
                if speaks(files, server, 1) {
                    return Ok(Looked::Spoke);
                }
                left = left.saturating_sub(1);
            }
        }
        Ok(Looked::Working)
    }

    /// What was seen so far.
    pub fn samples(&self, files: &Files) -> Vec<Sample> {
        let mut samples = files.batch.samples();
        samples.drain(..self.first.min(samples.len()));
        samples
    }
}

/// Waits up to `millis` for the child to be through, or for its server.
fn speaks(files: &Files, server: &Server, millis: i32) -> bool {
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut polls = [entry(files.done.as_raw_fd()), entry(server.control().as_raw_fd())];
    // SAFETY: two valid entries are passed.
    unsafe { libc::poll(polls.as_mut_ptr(), 2, millis) > 0 }
}
