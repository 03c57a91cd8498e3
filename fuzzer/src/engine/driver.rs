//! The engine at work: what earlier sessions kept, the seeds, then the loop.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use libafl::corpus::{Corpus, HasCurrentCorpusId, Testcase};
use libafl::events::SimpleEventManager;
use libafl::fuzzer::{Fuzzer as _, StdFuzzer};
use libafl::inputs::{BytesInput, HasMutatorBytes};
use libafl::monitors::NopMonitor;
use libafl::mutators::Tokens;
use libafl::schedulers::Scheduler;
use libafl::state::{HasCorpus, HasExecutions};
use libafl::{HasFeedback, HasMetadata, HasScheduler};

use hitmap_observers::feedback::{NoveltyFeedback, TouchedMetadata};
use hitmap_observers::history::History;
use hitmap_observers::observer::TouchedObserver;
use hitmap_observers::snapshot::{ModuleId, Snapshot};
use hitmap_wire::modules::{GUARDS, Module};

use super::comparisons::Replacing;
use super::drift::{self, Drift};
use super::executor::WorkerExecutor;
use super::havoc::Havoc;
use super::making::Making;
use super::objective::FindingFeedback;
use super::rand::Xoshiro;
use super::scheduler::FavouredScheduler;
use super::seeds::Seed;
use super::spent::{Bench, Spent, Stopwatch};
use super::stage::{Acts, BatchStage, Kept, Parts};
use super::words;
use super::{Fuzzer, Manager, State, state};
use crate::campaign::folder::{Entry, Folder, join, module_id};
use crate::campaign::keeper::Keeper;
use crate::campaign::manifest::Manifest;
use crate::campaign::names::{self, Origin};
use crate::campaign::peers::Peers;
use crate::campaign::stats::Stats;
use crate::disk;
use crate::error::Failure;
use crate::launcher::message::Message;
use crate::settings::Settings;
use crate::trust::Claim;
use crate::worker::{Tally, Worker};

/// How often peers are asked for news.
const PEERS_EVERY: Duration = Duration::from_millis(700);

/// LibAFL's parts of a session, and the stage.
pub struct Engine {
    pub(super) fuzzer: Fuzzer,
    pub(super) executor: WorkerExecutor,
    pub(super) state: State,
    manager: Manager,
    pub(super) stages: (BatchStage<Keeper>, ()),
    /// What the user should know of what earlier sessions left.
    pub notes: Vec<String>,
    manifest: Manifest,
    /// The campaign folder, for the engine that writes the manifest.
    out: Option<PathBuf>,
}

impl Engine {
    /// What the campaign would have run, for whoever replays its inputs.
    pub fn claim(&self) -> Claim {
        self.manifest.claim()
    }

    /// Whether somebody asked it to stop.
    pub fn was_interrupted(&self) -> bool {
        self.stages.0.acts.was_interrupted()
    }

    #[allow(clippy::too_many_arguments, reason = "it is called once, and each is a part of its own")]
    pub fn open(
        settings: &Settings,
        index: usize,
        budget: Option<u64>,
        rand: Xoshiro,
        mut manifest: Manifest,
        history: History,
        worker: Box<dyn Worker>,
        replacing: Replacing,
        tokens: Tokens,
        stop: Arc<AtomicBool>,
    ) -> Result<Engine, Failure> {
        // Nothing else is written before the manifest of a new campaign, and nothing at all before the
        // lock on the folder of an old one.
        let is_new = index == 0 && !manifest.is_saved(&settings.out);
        if is_new {
            manifest.save(&settings.out)?;
        }
        let (folder, left) = Folder::open(&settings.out, &Keeper::name(index))?;
        if index == 0 {
            manifest.add_builds(worker.modules());
            manifest.take_limits(settings);
            manifest.save(&settings.out)?;
        }
        let out = (index == 0).then(|| settings.out.clone());
        let queue: Vec<&str> = left.entries.iter().map(|entry| entry.name.as_str()).collect();
        let (stats, damage) = Stats::open(folder.path(), &queue);
        write_setup(folder.path(), settings)?;
        let mut keeper = Keeper::new(settings, index, folder, stats, stop);
        keeper.setup = manifest.to_text()?;

        let observer = TouchedObserver::new("edges");
        let mut feedback = NoveltyFeedback::new(&observer, history);
        let mut state = state(rand, &mut feedback, settings.max_len).map_err(broken)?;
        let mut mutator = Havoc::new(&mut state, tokens, settings.auto_tokens);
        mutator.add_tokens(&mut state, &words::of_modules(worker.modules()));
        let fuzzer = StdFuzzer::new(FavouredScheduler::new(), feedback, FindingFeedback);
        let making = Making::new(worker.makers());
        let executor = WorkerExecutor::new(worker, observer);
        let stage = BatchStage::new(mutator, replacing, making, keeper, budget);
        let manager = SimpleEventManager::new(NopMonitor::new());
        let notes = left.notes.into_iter().chain(damage).collect();
        let mut engine = Engine { fuzzer, executor, state, manager, stages: (stage, ()), notes, manifest, out };
        left.last.into_iter().for_each(|last| engine.stages.0.acts.reserve(last));
        engine.take_up(left.entries, &left.modules)?;
        engine.take_up_coverage();
        Ok(engine)
    }

    /// Takes up the entries of earlier sessions: what has a record is not run.
    fn take_up(&mut self, entries: Vec<Entry>, ids: &[ModuleId]) -> Result<(), Failure> {
        let mut unrecorded = Vec::new();
        for Entry { name, input, record } in entries {
            self.stages.0.acts.reserve(names::number(&name).unwrap_or(0));
            let Some(record) = record else {
                unrecorded.push((name, input));
                continue;
            };
            let (mut hits, _) = join(&record, ids, self.executor.worker().modules());
            hits.sort_unstable();
            for (edge, class) in &hits {
                self.fuzzer.feedback_mut().history_mut().raise(*edge, *class);
            }
            let mut testcase = Testcase::new(BytesInput::new(input));
            testcase.set_exec_time(Duration::from_nanos(record.run_nanos));
            testcase.add_metadata(TouchedMetadata { hits });
            let id = self.state.corpus_mut().add(testcase).map_err(broken)?;
            self.fuzzer.scheduler_mut().on_add(&mut self.state, id).map_err(broken)?;
            self.stages.0.acts.adopt(id, name);
        }
        for (name, input) in unrecorded {
            self.stages.0.acts.readopted = Some(name);
            self.evaluate(input.clone())?;
            self.stages.0.acts.record_readopted(&input).map_err(broken)?;
            if self.stages.0.acts.must_stop() {
                break;
            }
        }
        Ok(())
    }

    /// Takes up what earlier findings reached and no entry covers. A snapshot that is missing or
    /// damaged is made anew at the next save; damage is said.
    fn take_up_coverage(&mut self) {
        let acts = &mut self.stages.0.acts;
        let snapshot = match Snapshot::load(acts.path().join("coverage.hitmap")) {
            Ok(snapshot) => snapshot,
            Err(damage) if damage.is_not_found() => return,
            Err(damage) => return self.notes.push(format!("{damage}; it is made anew from the queue")),
        };
        let history = self.fuzzer.feedback().history();
        for module in self.executor.worker().modules() {
            let saved = snapshot.module(module_id(module).key());
            for hit in saved.into_iter().flat_map(|map| map.hits().iter()) {
                let edge = module.base + hit.edge;
                if history.is_novel(edge, hit.class) {
                    acts.reached_by_finding(edge, hit.class);
                }
            }
        }
    }

    pub(super) fn evaluate(&mut self, input: Vec<u8>) -> Result<bool, Failure> {
        let input = BytesInput::new(input);
        let Engine { fuzzer, executor, state, manager, stages, .. } = self;
        let evaluated = stages.0.evaluate(&mut Parts { fuzzer, executor, state, manager }, &input);
        evaluated.map_err(|e| told(executor, e))
    }

    /// Runs the seeds that no earlier session ran.
    pub fn take_up_seeds(&mut self, seeds: &[Seed]) -> Result<(), Failure> {
        let path = self.stages.0.acts.path().join("seeds.done");
        let mut log = disk::append(&path).map_err(Failure::disk("cannot write"))?;
        let done = disk::read(&path, disk::LONGEST_TEXT).map_err(Failure::disk("cannot read"))?;
        let done = String::from_utf8_lossy(&done);
        let is_hash = |line: &&str| line.len() == 16 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut done: std::collections::BTreeSet<String> = done.lines().filter(is_hash).map(String::from).collect();
        let lines = std::fs::metadata(&path).map_or(0, |about| about.len() / 17);
        if lines != done.len() as u64 || (lines == 0 && self.state.corpus().count() > 0 && !seeds.is_empty()) {
            let damage = "it is not as it was written; seeds that it does not name are run again";
            self.stages.0.acts.tell(format!("{}: {damage}", path.display()));
        }
        *self.state.corpus_mut().current_mut() = None;
        for seed in seeds {
            let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&seed.input));
            if done.contains(&hash) {
                continue;
            }
            self.stages.0.acts.origin = Origin::Seed(seed.name.clone());
            self.evaluate(seed.input.clone())?;
            self.stages.0.acts.origin = Origin::Mutant(None);
            writeln!(log, "{hash}").map_err(Failure::file("cannot write", &path))?;
            done.insert(hash);
            if self.stages.0.acts.must_stop() {
                break;
            }
        }
        if self.state.corpus().count() == 0 {
            self.plant(seeds)?;
        }
        Ok(())
    }

    /// Gives the loop something to mutate when no seed touched anything, or all of them are findings.
    fn plant(&mut self, seeds: &[Seed]) -> Result<(), Failure> {
        let seed = seeds.first().map(|s| s.input.clone()).unwrap_or_default();
        let mut testcase = Testcase::new(BytesInput::new(seed.clone()));
        testcase.add_metadata(TouchedMetadata { hits: Vec::new() });
        let id = self.state.corpus_mut().add(testcase).map_err(broken)?;
        self.fuzzer.scheduler_mut().on_add(&mut self.state, id).map_err(broken)?;
        let acts = &mut self.stages.0.acts;
        acts.origin = Origin::Seed("planted".into());
        let execs = *self.state.executions();
        let kept = Kept { id, parent: None, input: &seed, hits: &[], nanos: 0, execs, new_edge: false, modules: &[] };
        acts.kept(kept).map_err(broken)
    }

    /// The loop: schedule, mutate, run, judge, apply; then what has waited.
    pub fn fuzz(&mut self, settings: &Settings, index: usize, budget: Option<u64>) -> Result<(), Failure> {
        let budget = budget.unwrap_or(u64::MAX);
        let mut peers = Peers::new(&settings.out, &Keeper::name(index));
        let mut asked = Instant::now();
        let mut drift = Drift::new(settings.max_execs.is_none());
        self.housekeeping(true)?;
        let before = (self.executor.worker().tally(), self.state.corpus().count());
        self.stages.0.stopwatch = settings.bench.then(Stopwatch::start);
        while *self.state.executions() < budget && !self.stages.0.acts.must_stop() {
            let Engine { fuzzer, executor, state, manager, stages, .. } = self;
            let fuzzed = fuzzer.fuzz_one(stages, executor, state, manager);
            fuzzed.map_err(|e| told(executor, e))?;
            if asked.elapsed() >= PEERS_EVERY {
                self.hear(&mut peers)?;
                asked = Instant::now();
            }
            self.look_for_drift(&mut drift)?;
            self.housekeeping(false)?;
        }
        if let Some(stopwatch) = self.stages.0.stopwatch.take() {
            self.tell_bench(stopwatch.read(), &before);
        }
        self.housekeeping(true)?;
        self.stages.0.acts.send_status();
        Ok(())
    }

    fn tell_bench(&mut self, spent: Spent, before: &(Tally, usize)) {
        let worker = self.executor.worker();
        let edges = |guards: bool| {
            let of_kind = |m: &&Module| !m.is_refused() && (m.kind & GUARDS != 0) == guards;
            worker.modules().iter().filter(of_kind).map(|m| u64::from(m.edges)).sum()
        };
        let tally = worker.tally().since(&before.0);
        let kept = self.state.corpus().count().saturating_sub(before.1) as u64;
        Message::Bench(Bench { spent, tally, kept, swept: edges(false), journalled: edges(true) }).send();
    }

    /// Runs an entry in a fresh child, when it is time to, and marks it when it has lost something. One
    /// that is a finding there is found.
    fn look_for_drift(&mut self, drift: &mut Drift) -> Result<(), Failure> {
        let Some(id) = drift.due(self.state.corpus(), *self.state.executions()) else { return Ok(()) };
        let began = Instant::now();
        let testcase = self.state.corpus().cloned_input_for_id(id).map_err(broken)?;
        let input = testcase.mutator_bytes();
        let mut fresh = Vec::new();
        *self.state.executions_mut() += 1;
        let seen = self.executor.worker().observe(input, true, &mut fresh)?;
        drift.took(began.elapsed());
        if let Some(first) = seen.evidence {
            *self.state.corpus_mut().current_mut() = None;
            let Engine { fuzzer, executor, state, manager, stages, .. } = self;
            let confirmed = stages.0.suspect(&mut Parts { fuzzer, executor, state, manager }, testcase, first);
            return confirmed.map_err(|e| told(executor, e));
        }
        let entry = self.state.corpus().get(id).map_err(broken)?.borrow();
        let lost =
            entry.metadata::<TouchedMetadata>().map_or_else(|_| Vec::new(), |kept| drift::lost(&kept.hits, &fresh));
        self.stages.0.acts.looked_at_again(id, &lost).map_err(broken)
    }

    fn hear(&mut self, peers: &mut Peers) -> Result<(), Failure> {
        let history = self.fuzzer.feedback().history();
        let offers = peers.news(history, self.executor.worker().modules());
        *self.state.corpus_mut().current_mut() = None;
        for offer in offers {
            self.stages.0.acts.origin = Origin::Peer { name: offer.peer, entry: offer.entry };
            self.evaluate(offer.input)?;
            self.stages.0.acts.origin = Origin::Mutant(None);
        }
        Ok(())
    }

    fn housekeeping(&mut self, now: bool) -> Result<(), Failure> {
        let Engine { fuzzer, executor, state, stages, manifest, out, .. } = self;
        let tokens = stages.0.mutator.tokens();
        let acts = &mut stages.0.acts;
        let worker = executor.worker();
        acts.examine(&worker.tally(), worker.growth());
        let modules = worker.modules();
        let history = fuzzer.feedback().history();
        let scheduler = fuzzer.scheduler();
        acts.note_cycles(scheduler.cycles());
        acts.note(history, modules, state.current_corpus_id().map_err(broken)?);
        acts.tick(*state.executions());
        if now || acts.save_is_due() {
            // A library that the harness imports late is part of the campaign from now on; the worker has
            // asked whether it may.
            if let Some(out) = out
                && manifest.add_builds(modules)
            {
                acts.setup = manifest.to_text()?;
                manifest.save(out)?;
            }
            acts.stats.favoured = scheduler.favoured();
            acts.stats.pending = scheduler.pending();
            acts.stats.tokens = tokens;
            acts.save(history, modules).map_err(broken)?;
        }
        Ok(())
    }
}

/// `fuzzer_setup` and `cmdline`, by which afl-whatsup and casr-afl know an instance.
fn write_setup(folder: &Path, settings: &Settings) -> Result<(), Failure> {
    let setup = format!("# command line:\n{}\n", settings.command());
    for (name, text) in [("fuzzer_setup", setup), ("cmdline", format!("{}\n", settings.harness))] {
        let path = folder.join(name);
        disk::replace(&path, text.as_bytes()).map_err(Failure::disk("cannot write"))?;
    }
    Ok(())
}

/// The worker's own error when it was one, else LibAFL's or the disk's.
pub(super) fn told(executor: &mut WorkerExecutor, error: libafl::Error) -> Failure {
    executor.take_error().map_or_else(|| broken(error), Failure::from)
}

pub(super) fn broken(error: libafl::Error) -> Failure {
    match error {
        // The keeper's: a file that cannot be written is the user's to mend, and the text says how.
        libafl::Error::OsError(_, message, _) => Failure::usage(message),
        error => Failure::internal(error.to_string()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::worker::mock::{Does, MockTracer, MockWorker, compared_numbers};
    use crate::worker::{Made, Makers, Miss, Observation, Seen, Wish, WorkerError};
    use hitmap_observers::observer::Hit;
    use hitmap_wire::comparisons::Comparison;
    use hitmap_wire::outcome::Outcome;

    /// Nested compares: each right byte is an edge, three of them are a crash. Some inputs raise.
    pub fn maze(input: &[u8]) -> Does {
        let right = input.iter().zip(b"hit").take_while(|(a, b)| a == b).count();
        let mut hits: Vec<Hit> = (0..=right as u32).map(|depth| (4096 + depth, 1)).collect();
        hits.push((4200 + input.len().min(9) as u32, 1));
        let outcome = match (right, input.first()) {
            (3, _) => Outcome::Signal,
            (_, Some(0xFF)) => Outcome::Exception,
            _ => Outcome::Ok,
        };
        (hits, outcome)
    }

    pub fn session(out: &Path, takes: Vec<usize>, execs: u64, stop: bool) -> Engine {
        let worker = Box::new(MockWorker::new(maze, takes));
        run(out, worker, Replacing::absent(), execs, stop)
    }

    pub fn run(out: &Path, worker: Box<dyn Worker>, replacing: Replacing, execs: u64, stop: bool) -> Engine {
        let (engine, ended) = run_to_end(out, worker, replacing, execs, stop);
        ended.unwrap();
        engine
    }

    pub fn run_to_end(
        out: &Path,
        worker: Box<dyn Worker>,
        replacing: Replacing,
        execs: u64,
        stop: bool,
    ) -> (Engine, Result<(), Failure>) {
        let mut engine = open(out, worker, replacing, execs, stop);
        let seeds = [Seed { name: "seed".into(), input: b"x".to_vec() }];
        engine.take_up_seeds(&seeds).unwrap();
        let ended = engine.fuzz(&settings(out, execs), 0, Some(execs));
        (engine, ended)
    }

    fn settings(out: &Path, execs: u64) -> Settings {
        Settings { max_execs: Some(execs), ..Settings::for_test(out) }
    }

    pub fn open(out: &Path, worker: Box<dyn Worker>, replacing: Replacing, execs: u64, stop: bool) -> Engine {
        let settings = settings(out, execs);
        let history = History::new(1 << 16).unwrap();
        let manifest = Manifest::open(out).unwrap().unwrap_or_else(|| Manifest::new(&settings));
        let stop = Arc::new(AtomicBool::new(stop));
        let (budget, rand) = (settings.max_execs, Xoshiro::new(settings.seed));
        let tokens = Tokens::new();
        Engine::open(&settings, 0, budget, rand, manifest, history, worker, replacing, tokens, stop).unwrap()
    }

    /// Names without the clock, and contents.
    fn queue(out: &Path) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for folder in ["w0/queue", "w0/crashes"] {
            for entry in std::fs::read_dir(out.join(folder)).unwrap().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let kept: Vec<&str> = name.split(',').filter(|part| !part.starts_with("time:")).collect();
                all.push((format!("{folder}/{}", kept.join(",")), std::fs::read(entry.path()).unwrap()));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn how_many_travel_per_wake_up_changes_nothing() {
        let outs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        for (out, takes) in outs.iter().zip([vec![1], vec![512], vec![3, 1, 40]]) {
            session(out.path(), takes, 30_000, false);
        }
        let [a, b, c] = outs.map(|out| queue(out.path()));
        assert!(a.len() > 8, "{} entries", a.len());
        assert_eq!(a, b);
        assert_eq!(a, c);
    }

    /// A number at the front, and behind it one that is computed from the rest: no chance finds either.
    fn sealed(input: &[u8]) -> (Does, Vec<Comparison>) {
        let number = |at: usize| input.get(at..at + 4).map(|b| u32::from_le_bytes(b.try_into().unwrap()));
        let (Some(magic), Some(sum)) = (number(0), number(4)) else {
            return ((vec![(4096, 1)], Outcome::Ok), Vec::new());
        };
        let right = xxhash_rust::xxh3::xxh3_64(&input[8..]) as u32;
        let mut log = vec![compared_numbers(1, magic, 0xFEED_BEEF)];
        let mut hits = vec![(4096, 1), (4097, 1)];
        if magic == 0xFEED_BEEF {
            hits.push((4098, 1));
            log.push(compared_numbers(2, right, sum));
        }
        let found = magic == 0xFEED_BEEF && sum == right;
        ((hits, if found { Outcome::Signal } else { Outcome::Ok }), log)
    }

    #[test]
    fn numbers_that_are_compared_are_put_into_the_input() {
        let outs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        for (out, takes) in outs.iter().zip([vec![1], vec![512], vec![3, 1, 40]]) {
            let worker = Box::new(MockWorker::new(|input| sealed(input).0, takes));
            let tracer = MockTracer(|input: &[u8]| {
                let ((hits, _), log) = sealed(input);
                (hits.len() as u64, Outcome::Ok, log)
            });
            run(out.path(), worker, Replacing::new(Box::new(|| Ok(Box::new(tracer)))), 5_000, false);
            let findings = crate::finding::kept::all(&out.path().join("findings"), "hitmap").unwrap();
            assert_eq!(findings.len(), 1);
        }
        let [a, b, c] = outs.map(|out| queue(out.path()));
        assert_eq!(a, b);
        assert_eq!(a, c);
    }

    /// Every third wish fails or has a parent that does not decode.
    fn turned(wish: &Wish<'_>) -> Made {
        match wish.seed % 6 {
            0 => Made::Undecodable,
            1 => Made::Failed(Miss { headline: "mutator failed".into(), details: "why".into() }),
            _ => Made::Input([&wish.seed.to_le_bytes()[..], wish.second, wish.first].concat()),
        }
    }

    #[test]
    fn what_the_harness_makes_repeats_however_much_travels() {
        let outs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        for (out, takes) in outs.iter().zip([vec![1], vec![512], vec![3, 1, 40]]) {
            let mut worker = MockWorker::new(maze, takes);
            worker.makers = Makers { mutator: true, crossover: true, decodes: true, generator: false };
            worker.making = Box::new(turned);
            run(out.path(), Box::new(worker), Replacing::absent(), 5_000, false);
            assert!(std::fs::read_to_string(out.path().join("w0/mutators.txt")).unwrap().contains("why"));
        }
        let [a, b, c] = outs.map(|out| queue(out.path()));
        assert!(a.len() > 3, "{} entries", a.len());
        assert_eq!(a, b);
        assert_eq!(a, c);
    }

    #[test]
    fn findings_are_kept_and_fuzzing_goes_on() {
        let out = tempfile::tempdir().unwrap();
        let engine = session(out.path(), vec![64], 300_000, false);
        let findings = crate::finding::kept::all(&out.path().join("findings"), "hitmap").unwrap();
        let kinds: Vec<&str> = findings.iter().map(|f| f.kind.as_str()).collect();
        assert!(kinds.contains(&"signal") && kinds.contains(&"exception"), "{kinds:?}");
        assert!(*engine.state.executions() >= 300_000);
    }

    /// Inputs that hold a `!` hang.
    fn hangs(input: &[u8]) -> Does {
        let outcome = if input.contains(&b'!') { Outcome::Timeout } else { Outcome::Ok };
        (vec![(4096, 1), (4100 + u32::from(input.len() > 4), 1)], outcome)
    }

    #[test]
    fn a_visit_that_meets_known_hangs_is_left_however_much_travels() {
        let outs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let mut met = Vec::new();
        for (out, takes) in outs.iter().zip([vec![1], vec![512], vec![3, 1, 40]]) {
            let count = std::rc::Rc::new(std::cell::Cell::new(0));
            let target = {
                let count = count.clone();
                move |input: &[u8]| {
                    let does = hangs(input);
                    count.set(count.get() + usize::from(does.1 == Outcome::Timeout));
                    does
                }
            };
            let engine = run(out.path(), Box::new(MockWorker::new(target, takes)), Replacing::absent(), 60_000, false);
            let visits = *engine.state.executions() / 64;
            assert!(count.get() as u64 <= 2 * visits, "{} hangs in {visits} visits at the most", count.get());
            met.push(count.get());
        }
        assert!(met[0] > 10 && met.iter().all(|count| *count == met[0]), "{met:?}");
        let [a, b, c] = outs.map(|out| queue(out.path()));
        assert_eq!(a, b);
        assert_eq!(a, c);
    }

    /// A target that dies of what only trimming makes: inputs of 8 to 15 bytes, which bring nothing in a batch.
    struct Brittle(MockWorker<fn(&[u8]) -> Does>);

    impl Worker for Brittle {
        fn run(&mut self, inputs: &[&[u8]], seen: &mut Vec<Seen>) -> Result<(), WorkerError> {
            self.0.run(inputs, seen)?;
            let short = seen.iter_mut().zip(inputs).filter(|(_, input)| input.len() < 16);
            short.for_each(|(seen, _)| *seen = Seen::Boring);
            Ok(())
        }

        fn observe(&mut self, input: &[u8], fresh: bool, hits: &mut Vec<Hit>) -> Result<Observation, WorkerError> {
            self.0.observe(input, fresh, hits)
        }

        fn make(&mut self, wishes: &[Wish<'_>], most: usize, made: &mut Vec<Made>) -> Result<(), WorkerError> {
            self.0.make(wishes, most, made)
        }

        fn modules(&self) -> &[Module] {
            self.0.modules()
        }
    }

    #[test]
    fn a_finding_that_shows_in_trimming_is_kept() {
        let out = tempfile::tempdir().unwrap();
        let target = |input: &[u8]| {
            let outcome = if (8..16).contains(&input.len()) { Outcome::Signal } else { Outcome::Ok };
            (vec![(4096 + u32::from(input.len() >= 16), 1)], outcome)
        };
        let worker = Brittle(MockWorker::new(target, vec![64]));
        run(out.path(), Box::new(worker), Replacing::absent(), 3_000, false);
        let findings = crate::finding::kept::all(&out.path().join("findings"), "hitmap").unwrap();
        assert_eq!(findings.iter().map(|f| f.kind.as_str()).collect::<Vec<_>>(), ["signal"]);
        assert!((8..16).contains(&findings[0].input_len));
    }

    #[test]
    fn a_later_session_runs_nothing_that_is_known() {
        let out = tempfile::tempdir().unwrap();
        session(out.path(), vec![64], 10_000, false);
        let before = queue(out.path());
        let engine = session(out.path(), vec![64], 10_000, true);
        assert_eq!(*engine.state.executions(), 0);
        assert_eq!(engine.state.corpus().count(), before.iter().filter(|(n, _)| n.contains("/queue/")).count());
        assert_eq!(queue(out.path()), before);
        assert!(engine.fuzzer.feedback().history().covered() > 3);
    }

    #[test]
    fn an_entry_without_a_record_is_run_again_under_its_name() {
        let out = tempfile::tempdir().unwrap();
        session(out.path(), vec![64], 2000, false);
        let before = queue(out.path());
        std::fs::remove_file(out.path().join("w0/features.hitmap")).unwrap();
        let engine = session(out.path(), vec![64], 2000, true);
        assert_eq!(
            *engine.state.executions() as usize,
            2 * engine.state.corpus().count(),
            "twice each, to see what varies"
        );
        assert_eq!(queue(out.path()), before);
    }
}
