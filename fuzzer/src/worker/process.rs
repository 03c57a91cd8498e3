//! The real worker: a Python fork server and its present child.
//!
//! Owns the shared files, the server and the child, and replaces whichever is lost. Checks all that
//! it reads: a child that has gone mad costs a child.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hitmap_observers::observer::Hit;
use hitmap_wire::batch::making::{Answer, Maker, Span, Wish};
use hitmap_wire::batch::notes::{BAD_ALLOC, How, Sample};
use hitmap_wire::batch::{NOWHERE, PHASE_MUTATE, PHASE_OBSERVE, PHASE_RUN, PHASE_TIME, SLOTS, Verdict};
use hitmap_wire::identity::{Identity, Loaded};
use hitmap_wire::modules::{self, Module};
use hitmap_wire::outcome::Outcome;
use hitmap_wire::sweep::Plan;

use super::child::{BatchEnd, Child, Watch};
use super::files::Files;
use super::growth::Growth;
use super::late::Late;
use super::limits::{Limits, resident_kib};
use super::server::{Ended, Launch, Server, Variant, forget_addresses};
use super::table::{self, Table};
use super::{Evidence, Made, Makers, Miss, Observation, Raised, Seen, Tally, Trace, Tracer, Worker, WorkerError};
use crate::finding::{hang, python, raw, stack};

/// How much work one wake-up carries: a wake-up costs about 4 µs, so this makes it nothing, and a
/// campaign still hears of news a thousand times a second.
const WORK_PER_WAKE: Duration = Duration::from_millis(1);

/// A server that is lost is started again this often before the campaign gives up.
const RESTARTS: u32 = 3;

/// A Python fork server with its child.
#[derive(Debug)]
pub struct ProcessWorker {
    files: Files,
    history: OwnedFd,
    launch: Launch,
    limits: Limits,
    server: Server,
    child: Option<Child>,
    known: Vec<Module>,
    /// Where libraries lie that the server itself has loaded, and so every child.
    inherited: Vec<(Identity, u64)>,
    plan: Plan,
    /// Moving average of what an input takes, in nanoseconds; it decides only how many travel.
    nanos_per_run: f64,
    /// How a batch is run: RUN, or TIME when somebody asks where the time goes.
    phase: u32,
    tally: Tally,
    /// How the last child grew that ran long enough to tell.
    growth: Option<Growth>,
    /// Findings of batches that were told in full, by their raw hashes.
    told: HashSet<u64>,
    late: Late,
    /// Hangs that are findings already, by their raw hashes.
    hangs: HashSet<u64>,
    /// Looks at the last run that took too long.
    samples: Vec<Sample>,
    /// The last child ended with a finding, so the next one's fork is part of what that costs.
    owes_fork: bool,
    /// When the child was woken last.
    woken: Instant,
    /// Resident memory of a child of this server when it is forked, in KiB.
    resident: Option<u64>,
    admission: Admission,
}

/// Asked of libraries before they are counted; says why one cannot be.
type Admits = dyn FnMut(&[Module]) -> Result<(), String>;

/// See [`ProcessWorker::admit`].
#[derive(Default)]
struct Admission(Option<Box<Admits>>);

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Admission" } else { "none" })
    }
}

/// A run like one that hung before is looked at after this part of the time limit, but not before this time, nor
/// before it took so many times what others take.
const EARLY: u32 = 16;
const EARLIEST: Duration = Duration::from_millis(20);
const SLOW: f64 = 50.0;

/// How much is told of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// Its raw hash, by which a known one is recognised.
    Hash,
    /// All of it at first sight: it may not come back. Later only the hash, because a shallow bug is hit a
    /// thousand times.
    Once,
    /// All of it.
    All,
}

/// A worker whose server has been started and not been waited for.
#[derive(Debug)]
pub struct Starting(ProcessWorker);

impl Starting {
    /// Starts a server that no earlier session knows of. The import goes on meanwhile.
    ///
    /// # Errors
    /// [`WorkerError::Harness`] when there is no such interpreter.
    pub fn begin(
        launch: Launch,
        limits: Limits,
        files: Files,
        history: BorrowedFd<'_>,
    ) -> Result<Starting, WorkerError> {
        let server = Server::begin(&launch, &files, history)?;
        Ok(Starting(ProcessWorker::of(launch, limits, files, history, server)?))
    }

    /// Waits for the import.
    ///
    /// # Errors
    /// Those of [`ProcessWorker::start`].
    pub fn finish(self) -> Result<ProcessWorker, WorkerError> {
        let Starting(mut worker) = self;
        worker.server.wait_ready(&worker.launch, &worker.files)?;
        worker.commit_modules()?;
        worker.note_inherited();
        Ok(worker)
    }
}

impl ProcessWorker {
    /// Starts the server. `known` are libraries of an earlier session: they get the same edge
    /// numbers again, in the same order.
    ///
    /// # Errors
    /// [`WorkerError::Harness`] when the harness cannot be loaded, [`WorkerError::MapFull`] when a
    /// library does not fit.
    pub fn start(
        launch: Launch,
        limits: Limits,
        files: Files,
        history: BorrowedFd<'_>,
        known: &[Module],
    ) -> Result<ProcessWorker, WorkerError> {
        for module in known {
            modules::register(&files.region, module)
                .map_err(|refusal| WorkerError::MapFull { name: module.path.clone(), refusal })?;
        }
        let server = Server::begin(&launch, &files, history)?;
        Starting(ProcessWorker::of(launch, limits, files, history, server)?).finish()
    }

    fn of(
        launch: Launch,
        limits: Limits,
        files: Files,
        history: BorrowedFd<'_>,
        server: Server,
    ) -> Result<ProcessWorker, WorkerError> {
        let history = history.try_clone_to_owned().map_err(WorkerError::system("history"))?;
        Ok(ProcessWorker {
            files,
            history,
            launch,
            limits,
            server,
            child: None,
            known: Vec::new(),
            inherited: Vec::new(),
            plan: Plan::default(),
            nanos_per_run: 10_000.0,
            phase: PHASE_RUN,
            tally: Tally::default(),
            growth: None,
            told: HashSet::new(),
            late: Late::default(),
            hangs: HashSet::new(),
            samples: Vec::new(),
            owes_fork: false,
            woken: Instant::now(),
            resident: None,
            admission: Admission::default(),
        })
    }

    /// From now on, runs in batches are timed, part by part. They cost more so.
    pub fn time_parts(&mut self) {
        self.phase = PHASE_TIME;
    }

    /// From now on `admits` is asked of libraries that children load, before anything that they hit is taken
    /// over. What it refuses ends the worker with [`WorkerError::OtherBuild`].
    pub fn admit(&mut self, admits: impl FnMut(&[Module]) -> Result<(), String> + 'static) {
        self.admission = Admission(Some(Box::new(admits)));
    }

    /// Whether there is a comparison build of something, as the server says.
    pub fn has_comparisons(&self) -> bool {
        self.server.has_comparisons
    }

    fn note_inherited(&mut self) {
        let loaded = self.known.iter().filter(|m| m.load_bias != 0);
        self.inherited = loaded.map(|m| (m.identity, m.load_bias)).collect();
    }

    /// The present child, forked when there is none.
    fn child(&mut self) -> Result<(), WorkerError> {
        let limits = self.limits;
        if self.child.as_mut().is_some_and(|c| c.runs >= limits.runs_per_child || c.has_grown(&limits)) {
            self.retire()?;
        }
        // One that died after its last batch says nothing of the next one.
        if self.child.is_some() && self.server.wait_exited(Duration::ZERO)?.is_some() {
            self.child = None;
        }
        if self.child.is_none() {
            let began = Instant::now();
            self.files.drain_events();
            // What the last child left, threads that it ended with included, is cleared by the next.
            self.files.region.distrust_journal();
            // Where libraries lie that the last child loaded for itself says nothing of the next one.
            let inherited = |m: &Module| self.inherited.contains(&(m.identity, m.load_bias));
            forget_addresses(&self.files.region, &self.known, inherited);
            let pid = self.server.fork(&self.files)?;
            // All children of a server begin alike, and a look costs as much as a wake-up.
            let resident = *self.resident.get_or_insert_with(|| resident_kib(pid).unwrap_or(0));
            self.child = Some(Child::new(pid, resident));
            self.tally.children += 1;
            if std::mem::take(&mut self.owes_fork) {
                self.tally.finding_nanos += nanos_since(began);
            }
        }
        Ok(())
    }

    fn retire(&mut self) -> Result<(), WorkerError> {
        if let Some(child) = self.child.take() {
            child.kill(&self.server)?;
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), WorkerError> {
        (self.child, self.resident) = (None, None);
        forget_addresses(&self.files.region, &self.known, |_| false);
        self.server = Server::start(&self.launch, &self.files, self.history.as_fd())?;
        self.commit_modules()?;
        self.note_inherited();
        Ok(())
    }

    /// Does `work`, starting the server anew when it is lost on the way.
    fn persist<T>(&mut self, mut work: impl FnMut(&mut Self) -> Result<T, WorkerError>) -> Result<T, WorkerError> {
        let mut tries = 0;
        loop {
            match work(self) {
                Err(WorkerError::Broken(_)) if tries < RESTARTS => {
                    tries += 1;
                    self.restart()?;
                }
                other => return other,
            }
        }
    }

    fn fits_per_wake(&self) -> usize {
        ((WORK_PER_WAKE.as_nanos() as f64 / self.nanos_per_run) as usize).clamp(1, SLOTS)
    }

    /// Stages as many inputs as fit, wakes the child and waits; says how many were staged.
    fn send(&mut self, inputs: &[&[u8]], phase: u32, cut: bool) -> Result<(usize, BatchEnd), WorkerError> {
        let (children, began) = (self.tally.children, Instant::now());
        self.child()?;
        if self.tally.children > children && phase != PHASE_OBSERVE {
            self.tally.fork_nanos += nanos_since(began);
        }
        let batch = &self.files.batch;
        let (mut count, mut offset) = (0, 0);
        for input in inputs {
            let Some(next) = batch.stage(count, offset, input) else { break };
            (count, offset) = (count + 1, next);
        }
        if count == 0 {
            return Err(does_not_fit(inputs.first().map_or(0, |i| i.len())));
        }
        Ok((count, self.go(count, phase, cut)?))
    }

    /// When to look at a run for the first time.
    fn first_look(&self) -> Option<Duration> {
        let usual = Duration::from_nanos((SLOW * self.nanos_per_run) as u64);
        let first = (self.limits.timeout / EARLY).max(EARLIEST).max(usual);
        Some(first).filter(|first| !self.hangs.is_empty() && *first < self.limits.timeout)
    }

    /// Wakes the child for the `count` slots that are filled, and waits. One that may be `cut` is ended early when
    /// it hangs as another did.
    fn go(&mut self, count: usize, phase: u32, cut: bool) -> Result<BatchEnd, WorkerError> {
        let batch = &self.files.batch;
        batch.clear_notes();
        self.files.clear_log();
        batch.header().nanos.store(0, Ordering::Relaxed);
        batch.header().cur.store(NOWHERE, Ordering::Relaxed);
        batch.header().enough.store(0, Ordering::Relaxed);
        let limit = self.limits.timeout.as_millis().min(u128::from(u32::MAX)) as u32;
        batch.header().limit_millis.store(limit, Ordering::Relaxed);
        batch.header().harness_nanos.store(0, Ordering::Relaxed);
        batch.header().map_nanos.store(0, Ordering::Relaxed);
        batch.header().phase.store(phase, Ordering::Relaxed);
        batch.header().count.store(count as u32, Ordering::Release);
        self.woken = Instant::now();
        let first_look = self.first_look().filter(|_| cut);
        let ProcessWorker { child, files, known, late, hangs, .. } = self;
        let Some(child) = child.as_mut() else {
            return Err(WorkerError::Broken("has no child to wake".into()));
        };
        let mut is_known = |outcome: Outcome, samples: &[Sample]| {
            cut && !samples.is_empty() && hangs.contains(&hang(outcome, samples, &objects(files, known, late), known))
        };
        let mut watch = Watch { first_look, is_known: &mut is_known };
        let end = child.work(files, &self.server, &self.limits, &mut watch)?;
        child.runs += count as u64;
        self.tally.cut += u64::from(child.was_cut);
        self.samples = std::mem::take(&mut child.samples);
        if let Some(growth) = Growth::of(&child.weights, matches!(self.launch.variant, Variant::Sanitized(_))) {
            self.growth = Some(growth);
        }
        if let Some(watched) = child.watch() {
            self.tally.watched.busy += watched.busy;
            self.tally.watched.cpu += watched.cpu;
            self.tally.watched.queued += watched.queued;
        }
        if end != BatchEnd::Done {
            self.child = None;
            // It may have ended between a count and the journal's entry of it.
            self.files.region.distrust_journal();
        }
        if end != BatchEnd::Done && self.files.batch.header().cur.load(Ordering::Acquire) == NOWHERE {
            let log = self.files.log();
            return Err(WorkerError::Broken(format!("lost a child before it ran anything: {}", log.trim())));
        }
        if end == BatchEnd::Died(Ended::WithServer) {
            self.restart()?;
        }
        self.commit_modules()?;
        Ok(end)
    }

    /// Stages as many wishes as fit with their parents; says how many. A parent that several have in a row
    /// is staged once.
    fn ask(&mut self, wishes: &[super::Wish<'_>], max_len: usize) -> Option<usize> {
        let batch = &self.files.batch;
        let (mut count, mut free) = (0, 0);
        let mut last: Option<(&[u8], Span)> = None;
        for wish in wishes.iter().take(SLOTS) {
            let same = last.filter(|(parent, _)| std::ptr::eq(*parent, wish.first));
            let first = match same {
                Some((_, span)) => span,
                None => {
                    let Some(span) = batch.stage_parent(free, wish.first, max_len) else { break };
                    free += wish.first.len();
                    last = Some((wish.first, span));
                    span
                }
            };
            let Some(second) = batch.stage_parent(free, wish.second, max_len) else { break };
            free += wish.second.len();
            batch.ask(count, Wish { maker: wish.maker, seed: wish.seed, first, second });
            count += 1;
        }
        batch.open_room(free, max_len);
        (count > 0).then_some(count)
    }

    fn try_make(
        &mut self,
        wishes: &[super::Wish<'_>],
        max_len: usize,
        made: &mut Vec<Made>,
    ) -> Result<(), WorkerError> {
        made.clear();
        self.child()?;
        let count = self.ask(wishes, max_len).ok_or_else(|| does_not_fit(max_len))?;
        let end = self.go(count, PHASE_MUTATE, false)?;
        let ran = (self.files.batch.header().cur.load(Ordering::Acquire) as usize).min(count);
        for slot in 0..ran {
            made.push(match self.files.batch.answered(slot, max_len) {
                Some(Answer::Made(input)) => Made::Input(input),
                Some(Answer::Undecodable) => Made::Undecodable,
                Some(Answer::Failed) => Made::Failed(Miss::of_report(&self.files.batch.report())),
                None => break,
            });
        }
        if self.is_at_fault(end, ran, count) && made.len() == ran {
            made.push(Made::Failed(self.ended_while_making(wishes[ran].maker, end)));
        }
        if made.is_empty() {
            // A mad child that says nothing of the first wish.
            self.retire()?;
            let headline = format!("{} answered nothing that makes sense", wishes[0].maker.name());
            made.push(Made::Failed(Miss { headline, details: String::new() }));
        }
        Ok(())
    }

    /// What is told of a function that ended the child.
    fn ended_while_making(&self, maker: Maker, end: BatchEnd) -> Miss {
        let mut details = self.files.log();
        let what = match end {
            BatchEnd::TimedOut => format!("did not return within {} ms", self.limits.timeout.as_millis()),
            BatchEnd::OverMemory => format!("used more memory than {} MiB", self.limits.memory_mb),
            BatchEnd::Died(Ended::Signal(signal)) => format!("ended the process by signal {signal}"),
            BatchEnd::Died(Ended::Exit(code)) => format!("ended the process with code {code}"),
            BatchEnd::Died(Ended::WithServer) | BatchEnd::Done => "ended the worker".into(),
        };
        // A look may have woken the function, so that it was over when it was asked for its last words.
        let looks: Vec<_> = self.samples.iter().map(|sample| python::of_sample(&sample.python)).collect();
        let frames = match hang::common_python(&looks) {
            common if common.is_empty() => {
                let looked = looks.into_iter().find(|look| !look.is_empty()).unwrap_or_default();
                looked.into_iter().map(|(frame, _)| frame).collect()
            }
            common => common,
        };
        if !frames.is_empty() {
            details = format!("Python stack (innermost first):\n{}\n{details}", stack::python(&frames));
        }
        let frames = if frames.is_empty() { python::of_faulthandler(&details) } else { frames };
        let place =
            frames.first().map_or_else(String::new, |at| format!(" at {}:{} in {}", at.file, at.line, at.function));
        Miss { headline: format!("{} {what}{place}", maker.name()), details }
    }

    /// Takes over what was registered since, after checking it; puts the table back when it was
    /// scribbled over.
    fn commit_modules(&mut self) -> Result<(), WorkerError> {
        let region = &self.files.region;
        if self.child.is_some() && region.module_count() == self.known.len() {
            return Ok(());
        }
        let seen = match table::look(region, &self.known) {
            Table::Sound(seen) => seen,
            Table::Full(refused) => {
                let name = format!("{} brings {} edges", refused.name(), refused.edges);
                return Err(WorkerError::MapFull { name, refusal: modules::full(region) });
            }
            Table::Mad => {
                self.retire()?;
                modules::restore(&self.files.region, &self.known);
                return Ok(());
            }
        };
        if seen.len() > self.known.len()
            && let Some(admits) = &mut self.admission.0
        {
            admits(&seen).map_err(WorkerError::OtherBuild)?;
        }
        if seen != self.known {
            self.plan = Plan::of(&seen, region.layout().capacity);
            self.known = seen;
        }
        Ok(())
    }

    fn tells_all(&mut self, detail: Detail, raw: u64) -> bool {
        match detail {
            Detail::Hash => false,
            Detail::Once => self.told.insert(raw),
            Detail::All => true,
        }
    }

    /// What the end of the child says of the input that it worked on.
    fn evidence(&mut self, end: BatchEnd, detail: Detail) -> Box<Evidence> {
        let batch = &self.files.batch;
        let death = batch.death();
        let (signal, exit_code) = match end {
            BatchEnd::Died(Ended::Signal(signal)) => (Some(signal), None),
            BatchEnd::Died(Ended::Exit(code)) => (None, Some(code)),
            BatchEnd::Died(Ended::WithServer) => (Some(libc::SIGKILL), None),
            _ => (None, None),
        };
        let how = death.as_ref().map(|death| death.how);
        let outcome = match end {
            BatchEnd::TimedOut => Outcome::Timeout,
            BatchEnd::OverMemory => Outcome::OutOfMemory,
            _ if how == Some(How::Report) => Outcome::Sanitizer,
            _ if death.as_ref().is_some_and(|death| death.has(BAD_ALLOC)) => Outcome::OutOfMemory,
            BatchEnd::Died(Ended::Exit(_)) => Outcome::Exit,
            _ => Outcome::Signal,
        };
        let signal = signal.filter(|_| !matches!(outcome, Outcome::Timeout | Outcome::Sanitizer));
        let samples = std::mem::take(&mut self.samples);
        let mut told = Evidence { signal, exit_code, death, samples, ..Evidence::bare(outcome, 0) };
        told.raw = if told.samples.is_empty() {
            let spans = spans(&self.files, &self.known, &mut self.late);
            // Where it was when somebody else ended it says nothing.
            let death = told.death.as_ref().filter(|_| !told.is_from_outside());
            let raw = raw::of_death(outcome, signal.or(exit_code), death, &spans, &self.known);
            match death.is_some_and(|death| raw::is_told_by_words(outcome, death)) {
                true => raw::with_words(raw, outcome, &self.files.log()),
                false => raw,
            }
        } else {
            let objects = objects(&self.files, &self.known, &mut self.late);
            let raw = hang(outcome, &told.samples, &objects, &self.known);
            match raw::is_hang_told_by_words(&told.samples, &objects, &self.known) {
                true => raw::with_words(raw, outcome, &self.files.log()),
                false => raw,
            }
        };
        if self.tells_all(detail, told.raw) {
            told.objects = objects(&self.files, &self.known, &mut self.late);
            told.log = self.files.log();
        }
        Box::new(told)
    }

    /// What the child says of an input that it outlived.
    fn raised(&mut self, slot: usize, verdict: &Verdict, detail: Detail) -> Box<Evidence> {
        let raw = raw::of_exception(verdict.outcome, verdict.signature);
        let exit_code = (verdict.outcome == Outcome::Exit).then_some(verdict.value as i32);
        let mut told = Evidence { exit_code, ..Evidence::bare(verdict.outcome, raw) };
        if self.tells_all(detail, raw) {
            let batch = &self.files.batch;
            told.exception = Raised::of_records(&batch.records(), slot);
            told.objects = objects(&self.files, &self.known, &mut self.late);
            told.log = self.files.log();
        }
        Box::new(told)
    }

    fn try_run(&mut self, inputs: &[&[u8]], seen: &mut Vec<Seen>) -> Result<(), WorkerError> {
        seen.clear();
        let left = self.limits.runs_per_child - self.child.as_ref().map_or(0, |c| c.runs % self.limits.runs_per_child);
        let most = self.fits_per_wake().min(inputs.len()).min(usize::try_from(left).unwrap_or(usize::MAX)).max(1);
        let (count, end) = self.send(&inputs[..most], self.phase, true)?;
        let raised = self.tally.raised;
        let capacity = self.files.region.layout().capacity;
        let ran = (self.files.batch.header().cur.load(Ordering::Acquire) as usize).min(count);
        let died = end != BatchEnd::Done;
        for slot in 0..ran {
            let Some(verdict) = self.files.batch.verdict(slot, capacity) else { break };
            self.tally.rejected += u64::from(verdict.outcome == Outcome::Rejected);
            seen.push(if verdict.outcome.is_finding() {
                self.tally.raised += 1;
                Seen::Finding(self.raised(slot, &verdict, Detail::Once))
            } else {
                let known = verdict.novel.filter(|(edge, _)| self.known.iter().any(|m| m.range().contains(edge)));
                known.map_or(Seen::Boring, |hit| Seen::Novel { hit, set: verdict.signature })
            });
        }
        if !died {
            self.learn_pace(ran);
        } else if self.is_at_fault(end, ran, count) && seen.len() == ran {
            let evidence = self.evidence(end, Detail::Once);
            seen.push(Seen::Finding(evidence));
            self.tally.died += 1;
            // What is not the time of the inputs before it is its own.
            let others = (self.nanos_per_run * ran as f64) as u64;
            self.tally.finding_nanos += nanos_since(self.woken).saturating_sub(others);
            self.owes_fork = true;
        }
        self.tally.finding_nanos += (self.nanos_per_run * (self.tally.raised - raised) as f64) as u64;
        self.tally.runs += seen.len() as u64;
        if self.phase == PHASE_TIME {
            let header = self.files.batch.header();
            self.tally.harness_nanos =
                self.tally.harness_nanos.saturating_add(header.harness_nanos.load(Ordering::Relaxed));
            self.tally.map_nanos = self.tally.map_nanos.saturating_add(header.map_nanos.load(Ordering::Relaxed));
        }
        // Else it died between inputs: that costs a child and says nothing of an input.
        if seen.is_empty() {
            // A mad child that says nothing of the first input: have another one run it, alone.
            self.retire()?;
            let observed = self.try_observe(inputs[0], true, Detail::All, &mut Vec::new())?;
            seen.push(observed.evidence.map_or(Seen::Boring, Seen::Finding));
        }
        Ok(())
    }

    /// Whether slot `ran` is what ended the child. One that was through may die of what an input left
    /// behind, such as a closed descriptor; it was through before `count` when the engine had enough.
    fn is_at_fault(&self, end: BatchEnd, ran: usize, count: usize) -> bool {
        let is_through = self.files.batch.header().nanos.load(Ordering::Relaxed) != 0;
        end != BatchEnd::Done && ran < count && (ran == 0 || !is_through)
    }

    fn learn_pace(&mut self, ran: usize) {
        let nanos = self.files.batch.header().nanos.load(Ordering::Relaxed) as f64 / ran.max(1) as f64;
        self.nanos_per_run = (0.75 * self.nanos_per_run + 0.25 * nanos.clamp(50.0, 1e9)).max(50.0);
    }

    fn try_observe(
        &mut self,
        input: &[u8],
        fresh: bool,
        detail: Detail,
        hits: &mut Vec<Hit>,
    ) -> Result<Observation, WorkerError> {
        if fresh {
            self.retire()?;
        }
        let began = Instant::now();
        self.plan.drain(&self.files.region, |_, _| {});
        self.tally.alone += 1;
        let (_, end) = self.send(&[input], PHASE_OBSERVE, !fresh)?;
        hits.clear();
        self.plan.drain(&self.files.region, |edge, class| hits.push((edge, class)));
        let capacity = self.files.region.layout().capacity;
        let nanos = self.files.batch.header().nanos.load(Ordering::Relaxed);
        // It may have been through, and died of what the input left behind, such as a closed descriptor.
        let outlived = matches!(end, BatchEnd::Died(_)) && self.files.batch.header().cur.load(Ordering::Acquire) == 1;
        let observation = match (end, self.files.batch.verdict(0, capacity)) {
            (_, Some(verdict)) if end == BatchEnd::Done || outlived => {
                if end == BatchEnd::Done {
                    self.learn_pace(1);
                }
                let evidence = verdict.outcome.is_finding().then(|| self.raised(0, &verdict, detail));
                Observation { outcome: verdict.outcome, nanos, evidence }
            }
            // A child that is through but says nothing sensible is mad; it costs a child.
            (BatchEnd::Done, None) => {
                self.retire()?;
                Observation { outcome: Outcome::Ok, nanos: 0, evidence: None }
            }
            (end, _) => {
                let evidence = self.evidence(end, detail);
                Observation { outcome: evidence.outcome, nanos: 0, evidence: Some(evidence) }
            }
        };
        if observation.evidence.is_some() {
            self.tally.finding_nanos += nanos_since(began);
            self.owes_fork = self.child.is_none();
        }
        Ok(observation)
    }
}

fn nanos_since(since: Instant) -> u64 {
    since.elapsed().as_nanos() as u64
}

/// Where libraries lie in the child.
fn spans(files: &Files, known: &[Module], late: &mut Late) -> Vec<Loaded> {
    let mut spans = files.batch.spans();
    late.complete(&mut spans, known);
    spans
}

/// The same with the names of the files.
fn objects(files: &Files, known: &[Module], late: &mut Late) -> Vec<Loaded> {
    let mut objects = files.batch.objects();
    late.complete(&mut objects, known);
    objects
}

/// The raw hash of a run that was looked at.
fn hang(outcome: Outcome, samples: &[Sample], spans: &[Loaded], known: &[Module]) -> u64 {
    raw::of_hang(samples, spans, known).wrapping_add(outcome as u64)
}

impl Miss {
    /// Reads the worker's report: a headline, and after a blank line the rest.
    fn of_report(report: &str) -> Miss {
        let (headline, details) = report.split_once("\n\n").unwrap_or((report, ""));
        Miss { headline: headline.trim().into(), details: details.into() }
    }
}

fn does_not_fit(len: usize) -> WorkerError {
    WorkerError::Harness(format!("an input of {len} bytes does not fit into a batch; lower --max-len"))
}

impl Tracer for ProcessWorker {
    fn trace(&mut self, input: &[u8], log: bool) -> Result<Trace, WorkerError> {
        let mut hits = Vec::new();
        // What a fork runs in instrumented libraries belongs to no input.
        self.persist(ProcessWorker::child)?;
        let comparisons = self.files.region.comparisons();
        comparisons.clear();
        comparisons.set_on(log);
        let observed = self.persist(|worker| worker.try_observe(input, false, Detail::Hash, &mut hits));
        let comparisons = self.files.region.comparisons();
        comparisons.set_on(false);
        let outcome = observed?.outcome;
        hits.sort_unstable();
        let bytes: Vec<u8> =
            hits.iter().flat_map(|(edge, class)| (u64::from(*edge) << 8 | u64::from(*class)).to_le_bytes()).collect();
        let path = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, outcome as u64);
        Ok(Trace { outcome, path, log: if log { comparisons.entries() } else { Vec::new() } })
    }
}

impl Worker for ProcessWorker {
    fn run(&mut self, inputs: &[&[u8]], seen: &mut Vec<Seen>) -> Result<(), WorkerError> {
        self.persist(|worker| worker.try_run(inputs, seen))
    }

    fn observe(&mut self, input: &[u8], fresh: bool, hits: &mut Vec<Hit>) -> Result<Observation, WorkerError> {
        self.persist(|worker| worker.try_observe(input, fresh, Detail::All, hits))
    }

    fn learn(&mut self, finding: &Evidence) {
        if matches!(finding.outcome, Outcome::Timeout | Outcome::OutOfMemory) && !finding.samples.is_empty() {
            self.hangs.insert(finding.raw);
        }
    }

    fn makers(&self) -> Makers {
        self.server.makers
    }

    fn make(&mut self, wishes: &[super::Wish<'_>], max_len: usize, made: &mut Vec<Made>) -> Result<(), WorkerError> {
        self.persist(|worker| worker.try_make(wishes, max_len, made))
    }

    fn modules(&self) -> &[Module] {
        &self.known
    }

    fn nanos_per_run(&self) -> f64 {
        self.nanos_per_run
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn growth(&self) -> Option<Growth> {
        self.growth
    }

    fn threads(&self) -> u64 {
        self.server.threads
    }
}
