//! The child: waits, runs what lies in the batch file, says what became of it.
//!
//! Owns the process: it never returns to the server's code. Trusts neither the batch file's header
//! nor its slots, although only the engine should write them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hitmap_wire::batch::making::{FAILED, UNDECODABLE};
use hitmap_wire::batch::{Batch, PHASE_MUTATE, PHASE_OBSERVE, PHASE_RUN, PHASE_TIME, SLOTS};
use hitmap_wire::control;
use hitmap_wire::identity;
use hitmap_wire::novelty::News;
use pyo3::prelude::*;
use std::os::fd::{AsFd, OwnedFd};

use super::judge::Judge;
use super::laps::{Clock, Laps};
use super::making::{Miss, Wanted};
use super::outcome::{self, Ended, Harness};
use super::shared::Shared;
use super::{crash, limits, samples, sanitizer, weight};

/// How old the memory limit may be: what the target leaks in between counts against its inputs.
const BOUND_EVERY: Duration = Duration::from_millis(20);

struct Child {
    batch: &'static Batch,
    judge: Judge,
    harness: Harness,
    wake: OwnedFd,
    done: OwnedFd,
    /// What one input may take, in MiB.
    memory_mb: u64,
    /// When the memory limit was taken last.
    bounded: Instant,
    /// Libraries loaded when the list in the batch file was written.
    loads: u64,
    /// Inputs that it ran in batches.
    runs: u64,
    /// It is weighed again when it has run so many: at each doubling, so that a weight costs nothing.
    weigh_at: u64,
}

/// Lives as the child of `server`, and ends the process.
pub fn live(py: Python<'_>, shared: Shared, harness: Harness, memory_mb: u64, server: i32) -> ! {
    // A panic must not unwind into the server's Python frames, which this process has too.
    let code = match catch_unwind(AssertUnwindSafe(|| work(py, shared, harness, memory_mb, server))) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            eprintln!("hitmap worker: {error}");
            3
        }
        Err(_) => 3,
    };
    crash::disown();
    // SAFETY: ends the process without running anybody's exit handlers: they are the server's.
    unsafe { libc::_exit(code) }
}

/// Returns when the engine is gone.
fn work(py: Python<'_>, shared: Shared, harness: Harness, memory_mb: u64, server: i32) -> PyResult<()> {
    // A sanitizer has limits of its own, and one that is refused memory for its shadow ends the process.
    let memory_mb = if sanitizer::has_sanitizer() { 0 } else { memory_mb };
    crash::install(server)?;
    limits::die_with(server);
    limits::lead_a_group();
    limits::ignore_interrupts();
    limits::notice_forks();
    let Shared { batch, region, history, log, control, wake, done } = shared;
    // Descriptors are never closed here: the target may have closed them, and opened others.
    std::mem::forget(log);
    // The server alone speaks there, and the engine must see the end of it when the server dies.
    drop(control);
    let judge = Judge::new(region, history)?;
    let child = Box::leak(Box::new(Child {
        batch,
        judge,
        harness,
        wake,
        done,
        memory_mb,
        bounded: Instant::now(),
        loads: 0,
        runs: 0,
        weigh_at: weight::FIRST,
    }));
    limits::bound_memory(memory_mb)?;
    child.write_objects();
    // What the fork itself ran in instrumented libraries belongs to no input.
    child.judge.discard();
    child.serve(py)
}

impl Child {
    fn serve(&mut self, py: Python<'_>) -> PyResult<()> {
        loop {
            // Detached, so that Python threads of the target can run meanwhile.
            let woken = py.detach(|| control::wait(self.wake.as_fd()));
            if woken.is_err() {
                return Ok(());
            }
            self.bound_memory();
            let header = self.batch.header();
            let count = (header.count.load(Ordering::Acquire) as usize).min(SLOTS);
            match header.phase.load(Ordering::Relaxed) {
                PHASE_RUN => self.run_all(py, count, &mut ())?,
                PHASE_TIME => self.run_all(py, count, &mut Clock::new(header))?,
                PHASE_OBSERVE => {
                    self.observe(py, count);
                    header.cur.store(count as u32, Ordering::Release);
                }
                PHASE_MUTATE => self.make_all(py, count)?,
                _ => header.cur.store(count as u32, Ordering::Release),
            }
            if identity::loads_so_far() != self.loads {
                self.write_objects();
            }
            control::wake(self.done.as_fd())?;
        }
    }

    /// Takes the memory limit anew, now and then: it costs as much as a wake-up. The old limit stays
    /// when the new one cannot be set, as when the target used up all descriptors.
    fn bound_memory(&mut self) {
        if self.bounded.elapsed() >= BOUND_EVERY {
            let _ = limits::bound_memory(self.memory_mb);
            self.bounded = Instant::now();
        }
    }

    /// RUN and TIME: every input; the map is clean before and after each.
    fn run_all(&mut self, py: Python<'_>, count: usize, laps: &mut impl Laps) -> PyResult<()> {
        let header = self.batch.header();
        let start = Instant::now();
        let mut ran = count;
        for at in 0..count {
            laps.begin();
            if let Some(ended) = self.run_one(py, at, None) {
                laps.harness();
                let news = self.judge.judge();
                laps.map();
                self.tell(at, ended, news);
            }
            if header.enough.load(Ordering::Relaxed) != 0 {
                ran = at + 1;
                break;
            }
        }
        header.nanos.store(nanos_since(start), Ordering::Relaxed);
        // What comes now says nothing of an input.
        header.cur.store(ran as u32, Ordering::Release);
        self.collect_garbage(py)?;
        self.runs += ran as u64;
        if self.runs >= self.weigh_at {
            self.weigh_at = self.runs * 2;
            // Cycles that wait for the collector are not kept by anybody.
            outcome::collect_all_garbage(py)?;
            self.batch.write_weight(weight::now(py, self.runs));
            self.judge.discard();
        }
        Ok(())
    }

    /// OBSERVE: the first input alone; its counts stay in the map.
    fn observe(&mut self, py: Python<'_>, count: usize) {
        if count == 0 {
            return;
        }
        let mut report = String::new();
        let start = Instant::now();
        crash::be_thorough(true);
        let ended = self.run_one(py, 0, Some(&mut report));
        crash::be_thorough(false);
        let Some(ended) = ended else { return };
        let nanos = nanos_since(start);
        self.judge.gather();
        self.batch.header().nanos.store(nanos, Ordering::Relaxed);
        if !report.is_empty() {
            self.batch.write_report(&report);
        }
        self.tell(0, ended, None);
    }

    /// MUTATE: has the harness make inputs until one fails, or there is no room for another.
    fn make_all(&mut self, py: Python<'_>, count: usize) -> PyResult<()> {
        let header = self.batch.header();
        let start = Instant::now();
        let (mut free, max_len) = self.batch.room();
        let mut made = 0;
        while made < count {
            header.cur.store(made as u32, Ordering::Release);
            let fits = free.checked_add(max_len).is_some_and(|end| end <= self.batch.arena_len());
            if !fits || !self.make_one(py, made, &mut free, max_len) {
                // A failure has been answered; what finds no room is asked for again.
                made += usize::from(fits);
                break;
            }
            made += 1;
            if header.enough.load(Ordering::Relaxed) != 0 {
                break;
            }
        }
        // What the functions ran in instrumented libraries belongs to no input.
        self.judge.discard();
        header.nanos.store(nanos_since(start), Ordering::Relaxed);
        header.cur.store(made as u32, Ordering::Release);
        self.collect_garbage(py)
    }

    /// Answers slot `at`; false when that ends the batch.
    fn make_one(&self, py: Python<'_>, at: usize, free: &mut usize, max_len: usize) -> bool {
        let wanted = self.batch.wish(at).and_then(|wish| {
            let (first, second) = (self.batch.bytes(wish.first)?, self.batch.bytes(wish.second)?);
            Some(Wanted { maker: wish.maker, seed: wish.seed, first, second, max_len })
        });
        let Some(wanted) = wanted else { return true };
        let made = self.harness.making.make(py, &wanted);
        limits::end_if_forked_again();
        crash::forget_survived();
        let (part, error, wrong) = match made {
            Ok(input) => {
                *free += self.batch.answer_made(at, *free, &input).map_or(0, |span| span.len as usize);
                return true;
            }
            Err(Miss::Undecodable) => {
                self.batch.answer(at, UNDECODABLE);
                return true;
            }
            Err(Miss::Raised(part, error)) => (part, Some(error), String::new()),
            Err(Miss::Wrong(part, wrong)) => (part, None, wrong),
        };
        self.batch.write_report(&outcome::describe_miss(py, &self.harness, part, error.as_ref(), &wrong));
        self.batch.answer(at, FAILED);
        false
    }

    /// Runs the input in slot `at`; `None` when the slot makes no sense, which stays "not run".
    #[inline]
    fn run_one(&mut self, py: Python<'_>, at: usize, report: Option<&mut String>) -> Option<Ended> {
        self.batch.header().cur.store(at as u32, Ordering::Release);
        let Some(input) = self.batch.input(at) else {
            self.batch.slots()[at].outcome.store(0, Ordering::Relaxed);
            return None;
        };
        samples::begin_run();
        let ended = outcome::run(py, &self.harness, input, report);
        samples::end_run();
        limits::end_if_forked_again();
        crash::forget_survived();
        Some(ended)
    }

    #[inline]
    fn tell(&self, at: usize, ended: Ended, news: Option<News>) {
        let slot = &self.batch.slots()[at];
        let (edge, class, set) = news.map_or((0, 0, 0), |news| (news.edge, news.class, news.set));
        slot.edge.store(edge, Ordering::Relaxed);
        slot.class.store(u32::from(class), Ordering::Relaxed);
        slot.value.store(ended.value, Ordering::Relaxed);
        // Nobody asks what was new in a finding.
        let signature = if ended.outcome.is_finding() { ended.signature } else { set };
        slot.signature.store(signature, Ordering::Relaxed);
        slot.outcome.store(ended.outcome as u32, Ordering::Release);
    }

    /// What destructors touch between batches belongs to no input.
    fn collect_garbage(&mut self, py: Python<'_>) -> PyResult<()> {
        if outcome::collect_garbage(py)? {
            self.judge.discard();
        }
        Ok(())
    }

    fn write_objects(&mut self) {
        self.loads = identity::loads_so_far();
        self.batch.write_objects(&identity::all_loaded());
    }
}

/// Never 0, which says that the child is not through.
fn nanos_since(start: Instant) -> u64 {
    start.elapsed().as_nanos().max(1) as u64
}
