//! One child: when it started, and how it is watched while it works.
//!
//! Progress is watched, not the batch: an input is timed out when the child's `cur` stays on it for
//! longer than the limit, however many inputs the batch has.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::files::Files;
use super::limits::{Limits, processor_nanos, resident_kib};
use super::server::{Ended, Server};
use super::{Watched, WorkerError};
use hitmap_wire::batch::Weight;

/// How long a child that was asked to abort may take to leave its stacks, before it is killed.
const LAST_WORDS: Duration = Duration::from_millis(1000);

/// How often a child is weighed between batches.
const WEIGH_EVERY: Duration = Duration::from_millis(20);

/// The longest time between two looks at a child that has not answered: what it grows by meanwhile is
/// taken from the machine, at some gigabytes a second.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often it is looked up how a child uses the processor: the system tells it in steps of 10 ms.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// A batch that takes longer is ended after the input that runs: the engine has other things to hear.
const LONGEST_BATCH: Duration = Duration::from_millis(100);

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchEnd {
    /// All of it ran.
    Done,
    /// The child died at the input that `cur` names.
    Died(Ended),
    /// The input that `cur` names ran too long; the child is gone.
    TimedOut,
    /// The input that `cur` names wanted too much memory; the child is gone.
    OverMemory,
}

/// A forked child.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    /// Inputs it has run.
    pub runs: u64,
    resident_at_start: u64,
    /// When it was weighed last, between batches.
    resident_before: u64,
    weighed: Instant,
    /// Its own weights, one at each doubling of its runs.
    pub weights: Vec<Weight>,
    /// What was last seen of its use of the processor, and the time since in which it had work.
    processor: (u64, u64),
    busy: Duration,
}

/// A child doubles its runs no more often than this; what is beyond was made up.
const MOST_WEIGHTS: usize = 64;

impl Child {
    /// Takes charge of a child that was just forked.
    pub fn new(pid: i32) -> Child {
        let resident = resident_kib(pid).unwrap_or(0);
        Child {
            pid,
            runs: 0,
            resident_at_start: resident,
            resident_before: resident,
            weighed: Instant::now(),
            weights: Vec::new(),
            processor: (0, 0),
            busy: Duration::ZERO,
        }
    }

    /// Wakes the child and waits until it is through, dead, or past a limit.
    ///
    /// # Errors
    /// [`WorkerError::Broken`] when the server is gone.
    pub fn work(&mut self, files: &Files, server: &Server, limits: &Limits) -> Result<BatchEnd, WorkerError> {
        hitmap_wire::control::wake(files.wake.as_fd()).map_err(WorkerError::system("wake the child"))?;
        let tick = (limits.timeout / 8).clamp(Duration::from_millis(2), LOOK_EVERY);
        let (mut at, mut spent) = (u32::MAX, Duration::ZERO);
        let began = Instant::now();
        let mut looked = began;
        loop {
            match wait_either(files, server, tick) {
                Woken::Done => {
                    hitmap_wire::control::wait(files.done.as_fd()).map_err(WorkerError::system("done event"))?;
                    self.busy += began.elapsed();
                    let weight = files.batch.take_weight().filter(|_| self.weights.len() < MOST_WEIGHTS);
                    self.weights.extend(weight);
                    return Ok(BatchEnd::Done);
                }
                Woken::Control => {
                    return match server.wait_exited(Duration::ZERO) {
                        Ok(Some(ended)) => Ok(BatchEnd::Died(ended)),
                        Ok(None) => Err(WorkerError::Broken("spoke out of turn".into())),
                        Err(_) => Ok(BatchEnd::Died(Ended::WithServer)),
                    };
                }
                Woken::Nobody => {}
            }
            files.bound_log();
            if began.elapsed() > LONGEST_BATCH {
                files.batch.header().enough.store(1, Ordering::Relaxed);
            }
            if self.is_over_memory(limits) {
                self.end(server)?;
                return Ok(BatchEnd::OverMemory);
            }
            // A look that comes late says that the machine was held up, and the child most likely with it.
            let now = Instant::now();
            let passed = now.duration_since(looked).min(2 * tick);
            looked = now;
            let cur = files.batch.header().cur.load(Ordering::Acquire);
            spent = if cur == at { spent + passed } else { Duration::ZERO };
            at = cur;
            if spent >= limits.timeout {
                self.end(server)?;
                return Ok(BatchEnd::TimedOut);
            }
        }
    }

    /// Whether the child has grown past its limit since it was weighed last, before this batch: what
    /// earlier inputs left is no fault of this one.
    fn is_over_memory(&self, limits: &Limits) -> bool {
        limits.memory_mb > 0
            && resident_kib(self.pid).is_some_and(|now| now > self.resident_before + limits.memory_mb * 1024)
    }

    /// Whether the child has leaked so much, over all of its inputs, that it should be replaced.
    /// Looked up between batches, now and then: a look costs as much as a wake-up.
    pub fn has_grown(&mut self, limits: &Limits) -> bool {
        if self.weighed.elapsed() < WEIGH_EVERY {
            return false;
        }
        self.weighed = Instant::now();
        self.resident_before = resident_kib(self.pid).unwrap_or(self.resident_before);
        limits.memory_mb > 0 && self.resident_before > self.resident_at_start + limits.memory_mb * 1024 / 2
    }

    /// How it used the processor since this was asked last; `None` until there is enough to tell.
    pub fn watch(&mut self) -> Option<Watched> {
        if self.busy < WATCH_EVERY {
            return None;
        }
        let now = processor_nanos(self.pid)?;
        let busy = std::mem::take(&mut self.busy).as_nanos() as u64;
        let (cpu, queued) = (now.0.saturating_sub(self.processor.0), now.1.saturating_sub(self.processor.1));
        self.processor = now;
        Some(Watched { busy, cpu, queued })
    }

    /// Ends the child: first so that it leaves its stacks, then for sure.
    fn end(&self, server: &Server) -> Result<(), WorkerError> {
        server.kill(libc::SIGABRT)?;
        // A target that stopped itself hears nothing before it goes on.
        server.kill(libc::SIGCONT)?;
        if server.wait_exited(LAST_WORDS)?.is_none() {
            self.kill(server)?;
        }
        Ok(())
    }

    /// Kills the child at once.
    ///
    /// # Errors
    /// [`WorkerError::Broken`] when the server is gone or the child survives.
    pub fn kill(&self, server: &Server) -> Result<Ended, WorkerError> {
        server.kill(libc::SIGKILL)?;
        server
            .wait_exited(Duration::from_secs(30))?
            .ok_or_else(|| WorkerError::Broken("has a child that survives SIGKILL".into()))
    }
}

enum Woken {
    Done,
    Control,
    Nobody,
}

fn wait_either(files: &Files, server: &Server, patience: Duration) -> Woken {
    let mut polls = [
        libc::pollfd { fd: files.done.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: server.control().as_raw_fd(), events: libc::POLLIN, revents: 0 },
    ];
    // SAFETY: two valid entries are passed.
    let ready = unsafe { libc::poll(polls.as_mut_ptr(), 2, patience.as_millis() as i32) };
    if ready <= 0 {
        Woken::Nobody
    } else if polls[0].revents & libc::POLLIN != 0 {
        Woken::Done
    } else {
        Woken::Control
    }
}
