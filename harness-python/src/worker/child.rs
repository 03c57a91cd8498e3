//! The child: waits, runs what lies in the batch file, says what became of it.
//!
//! Owns the process: it never returns to the server's code. Trusts neither the batch file's header
//! nor its slots, although only the engine should write them.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hitmap_wire::batch::making::{FAILED, UNDECODABLE};
use hitmap_wire::batch::{Batch, PHASE_MUTATE, PHASE_OBSERVE, PHASE_RUN, PHASE_TIME, SLOTS};
use hitmap_wire::control;
use hitmap_wire::novelty::News;
use pyo3::prelude::*;
use std::os::fd::{AsFd, OwnedFd};

use super::judge::Judge;
use super::laps::{Clock, Laps};
use super::listed::Listed;
use super::making::{Miss, Wanted};
use super::outcome::{self, Ended, Harness};
use super::raised::Told;
use super::shared::Shared;
use super::{crash, limits, samples, sanitizer, weight};

/// How old the memory limit may be: what the target leaks in between counts against its inputs.
const BOUND_EVERY: Duration = Duration::from_millis(20);

/// Signatures that a child remembers. Beyond that it tells of an exception each time.
const TOLD: usize = 4096;

/// The time limit of an engine that does not say its own, in milliseconds.
const UNSAID_LIMIT: u64 = 400;

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
    /// What is loaded, as the batch file has it.
    listed: Listed,
    /// Signatures of exceptions that it has told of.
    told: HashSet<u64>,
    /// What the first of two runs has to tell.
    first: Option<Told>,
    /// Inputs that it ran in batches.
    runs: u64,
    /// It is weighed again when it has run so many: at each doubling, so that a weight costs nothing.
    weigh_at: u64,
}

/// What a child has from its server, made once for all children.
pub struct Born {
    /// What the engine handed over.
    pub shared: Shared,
    /// What to call.
    pub harness: Harness,
    /// What is loaded.
    pub listed: Listed,
    /// Reads the map.
    pub judge: Judge,
}

/// Lives as the child of `server`, and ends the process.
pub fn live(py: Python<'_>, born: Born, memory_mb: u64, server: i32) -> ! {
    // A panic must not unwind into the server's Python frames, which this process has too.
    let code = match catch_unwind(AssertUnwindSafe(|| work(py, born, memory_mb, server))) {
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
fn work(py: Python<'_>, born: Born, memory_mb: u64, server: i32) -> PyResult<()> {
    let Born { shared, harness, listed, mut judge } = born;
    // A sanitizer has limits of its own, and one that is refused memory for its shadow ends the process.
    let memory_mb = if sanitizer::has_sanitizer() { 0 } else { memory_mb };
    crash::install(server)?;
    limits::die_with(server);
    limits::lead_a_group();
    limits::ignore_interrupts();
    limits::restore_statuses();
    limits::notice_forks();
    let Shared { batch, log, control, wake, done } = shared;
    // Descriptors are never closed here: the target may have closed them, and opened others.
    std::mem::forget(log);
    // The server alone speaks there, and the engine must see the end of it when the server dies.
    drop(control);
    judge.begin();
    let child = Box::leak(Box::new(Child {
        batch,
        judge,
        harness,
        wake,
        done,
        memory_mb,
        bounded: Instant::now(),
        listed,
        told: HashSet::new(),
        first: None,
        runs: 0,
        weigh_at: weight::FIRST,
    }));
    limits::bound_memory(memory_mb)?;
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
            samples::end_run();
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
            self.listed.catch_up(self.batch);
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
            if let Some(ended) = self.run_one(py, at) {
                laps.harness();
                let news = self.judge.judge();
                laps.map();
                self.tell(at, ended, news);
                if ended.is_raised() {
                    self.trace(py, at, start);
                }
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
        let start = Instant::now();
        crash::be_thorough(true);
        let ended = self.run_traced(py, 0);
        crash::be_thorough(false);
        let Some((ended, told)) = ended else { return };
        let nanos = nanos_since(start);
        self.judge.gather();
        self.batch.header().nanos.store(nanos, Ordering::Relaxed);
        if let Some(told) = told {
            told.write(self.batch, 0);
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
    #[inline(always)]
    fn run_one(&mut self, py: Python<'_>, at: usize) -> Option<Ended> {
        let input = self.begin(at)?;
        let outcome = outcome::run(py, &self.harness, input);
        let ended = outcome.map_or_else(|| self.raised(py), Ended::quietly);
        end_run();
        Some(ended)
    }

    /// Judges the exception that is set. What is to be told of it, when it looks new, waits for [`Child::trace`].
    #[cold]
    fn raised(&mut self, py: Python<'_>) -> Ended {
        let Child { harness, listed, told, first, .. } = self;
        outcome::raised(py, |raised| {
            let is_new = |signature| !told.contains(&signature);
            first.insert(Told::of(raised, harness, listed.objects(), is_new)).ended
        })
    }

    /// The same as [`Child::run_one`], but notes where exceptions are made, and says all of it.
    fn run_traced(&mut self, py: Python<'_>, at: usize) -> Option<(Ended, Option<Told>)> {
        let input = self.begin(at)?;
        let Child { batch, harness, listed, told, .. } = self;
        let is_observed = batch.header().phase.load(Ordering::Relaxed) == PHASE_OBSERVE;
        let mut new = None;
        let ended = outcome::run_traced(py, harness, input, |raised| {
            let is_new = |signature| is_observed || !told.contains(&signature);
            new.insert(Told::of(raised, harness, listed.objects(), is_new)).ended
        });
        end_run();
        Some((ended, new))
    }

    /// Names slot `at` as the one that runs; gives its input.
    #[inline(always)]
    fn begin(&self, at: usize) -> Option<&'static [u8]> {
        let batch = self.batch;
        batch.header().cur.store(at as u32, Ordering::Release);
        let input = batch.input(at);
        if input.is_none() {
            batch.slots()[at].outcome.store(0, Ordering::Relaxed);
        }
        input
    }

    /// Runs an input that raised once more, to see where the exception is made: that is looked at in no
    /// ordinary run. What this run touches is thrown away, and so is all that it says when it ends otherwise.
    #[cold]
    fn trace(&mut self, py: Python<'_>, at: usize, start: Instant) {
        let Some(first) = self.first.take() else { return };
        let mut again = None;
        // Two runs must not take longer than one may.
        let limit = self.batch.header().limit_millis.load(Ordering::Relaxed);
        let limit = Duration::from_millis(if limit == 0 { UNSAID_LIMIT } else { limit.into() });
        if start.elapsed() < limit / 4 {
            again = self.run_traced(py, at).and_then(|(_, told)| told);
            self.judge.discard();
        }
        let is_same = |again: &Told| (again.ended.outcome, &again.types) == (first.ended.outcome, &first.types);
        let without_origin = first.ended.signature;
        let best = again.filter(is_same).unwrap_or(first);
        let slot = &self.batch.slots()[at];
        slot.signature.store(best.ended.signature, Ordering::Relaxed);
        slot.outcome.store(best.ended.outcome as u32, Ordering::Release);
        best.write(self.batch, at);
        if self.told.len() < TOLD {
            self.told.extend([without_origin, best.ended.signature]);
        }
    }

    #[inline(always)]
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
}

/// What the run that ended may have left.
#[inline(always)]
fn end_run() {
    samples::end_run();
    limits::end_if_forked_again();
    crash::forget_survived();
}

/// Never 0, which says that the child is not through.
fn nanos_since(start: Instant) -> u64 {
    start.elapsed().as_nanos().max(1) as u64
}
