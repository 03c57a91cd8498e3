//! One engine's session: start the worker, take up what is there, run the seeds, loop.
//!
//! Nothing is written before the harness was imported, the seeds were run and the target turned out
//! to be instrumented: a campaign that cannot work leaves no trace.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use libafl::corpus::{Corpus, HasCurrentCorpusId, Testcase};
use libafl::events::SimpleEventManager;
use libafl::fuzzer::{Fuzzer as _, StdFuzzer};
use libafl::inputs::BytesInput;
use libafl::monitors::NopMonitor;
use libafl::mutators::Tokens;
use libafl::schedulers::Scheduler;
use libafl::state::{HasCorpus, HasExecutions};
use libafl::{HasFeedback, HasMetadata, HasScheduler};

use hitmap_observers::feedback::{NoveltyFeedback, TouchedMetadata};
use hitmap_observers::history::History;
use hitmap_observers::observer::TouchedObserver;
use hitmap_observers::snapshot::ModuleId;
use hitmap_wire::region::Layout;

use super::executor::WorkerExecutor;
use super::objective::FindingFeedback;
use super::scheduler::FavouredScheduler;
use super::stage::BatchStage;
use super::{Fuzzer, Manager, State, havoc, state};
use crate::campaign::folder::{Entry, Folder, join, module_of};
use crate::campaign::keeper::Keeper;
use crate::campaign::manifest::Manifest;
use crate::campaign::names::{self, Origin};
use crate::campaign::peers::Peers;
use crate::campaign::stats::Stats;
use crate::error::Failure;
use crate::launcher::message::Message;
use crate::settings::Settings;
use crate::worker::Worker;
use crate::worker::files::Files;
use crate::worker::process::ProcessWorker;

/// How often peers are asked for news.
const PEERS_EVERY: Duration = Duration::from_millis(700);

/// LibAFL's parts of a session, and the stage.
struct Engine {
    fuzzer: Fuzzer,
    executor: WorkerExecutor,
    state: State,
    manager: Manager,
    stages: (BatchStage<Keeper>, ()),
}

/// Runs engine number `index` of a campaign until it is told to stop, or its budget is spent. Says
/// whether it was interrupted.
///
/// # Errors
/// With a message for the user.
pub fn run(settings: &Settings, index: usize, stop: Arc<AtomicBool>) -> Result<bool, Failure> {
    let seeds = read_seeds(settings)?;
    let tokens = read_tokens(&settings.dictionaries)?;
    let earlier = Manifest::open(&settings.out)?;
    if let Some(manifest) = &earlier {
        manifest.check(settings)?;
    }
    let is_new = earlier.is_none();
    let manifest = earlier.unwrap_or_else(|| Manifest::new(settings));
    let name = Keeper::name(index);
    let known = if is_new { Vec::new() } else { known_modules(&settings.out, &name) };

    let capacity = Layout::for_edges(settings.map_edges)
        .ok_or_else(|| Failure::usage(format!("--map-edges {}: too large", settings.map_edges)))?
        .capacity;
    let history = History::new(capacity).map_err(|e| Failure::internal(format!("no memory for the history: {e}")))?;
    let files = Files::new(settings.map_edges).map_err(|e| Failure::internal(format!("no memory for the map: {e}")))?;
    let known: Vec<_> = known.iter().map(module_of).collect();
    let mut worker = ProcessWorker::start(settings.launch(), settings.limits(), files, history.fd(), &known)?;
    manifest.check_builds(&settings.out, loaded(&worker, &known))?;
    if is_new {
        prove_instrumented(&mut worker, &seeds, settings)?;
    }
    let notes = notes(&worker);

    let mut engine = Engine::open(settings, index, manifest, history, Box::new(worker), tokens, stop)?;
    Message::Ready { notes }.send();
    engine.take_up_seeds(&seeds)?;
    engine.fuzz(settings, &name)?;
    Ok(engine.stages.0.acts.was_interrupted())
}

/// The libraries that are there now: those that were known before count only once they are loaded.
fn loaded<'a>(
    worker: &'a ProcessWorker,
    known: &'a [hitmap_wire::modules::Module],
) -> impl Iterator<Item = &'a hitmap_wire::modules::Module> {
    let is_known = |m: &hitmap_wire::modules::Module| known.iter().any(|k| k.identity == m.identity);
    worker.modules().iter().filter(move |m| m.load_bias != 0 || !is_known(m))
}

fn known_modules(out: &Path, name: &str) -> Vec<ModuleId> {
    use hitmap_observers::snapshot::FeatureReader;
    let mut all: Vec<ModuleId> = Vec::new();
    let Ok(mut reader) = FeatureReader::open(out.join(name).join("features.hitmap")) else { return all };
    while let Ok(Some(_)) = reader.next_record() {}
    all.extend_from_slice(reader.modules());
    all
}

/// Runs the seeds once, without keeping anything, and refuses a target in which nothing counts. The
/// judgement waits until now because a harness may import its library on its first run.
fn prove_instrumented(worker: &mut ProcessWorker, seeds: &[Seed], settings: &Settings) -> Result<(), Failure> {
    let mut hits = Vec::new();
    for seed in seeds {
        if worker.modules().iter().any(|m| !m.is_refused() && m.edges > 0) {
            return Ok(());
        }
        worker.observe(&seed.input, false, &mut hits)?;
    }
    if worker.modules().is_empty() {
        return Err(Failure::usage(format!(
            "{}: no instrumented library was loaded while {} seeds ran, so there is nothing to be guided by; \
             build the extension with coverage: {} build PACKAGE",
            settings.harness,
            seeds.len(),
            settings.hitmap
        )));
    }
    Ok(())
}

fn notes(worker: &ProcessWorker) -> Vec<String> {
    let mut notes = Vec::new();
    if worker.threads() > 0 {
        notes.push(format!(
            "{} thread(s) besides the main one are alive when children are forked; threads do not survive a fork, \
             so a library that waits for them will hang: start them inside the harness, or set the library's thread \
             count to 1",
            worker.threads()
        ));
    }
    notes
}

/// A seed input.
#[derive(Clone, Debug)]
pub struct Seed {
    name: String,
    input: Vec<u8>,
}

/// Reads seed files, in the order of their paths; too long ones are cut to `max_len`.
///
/// # Errors
/// When a folder is missing or has no files.
pub fn read_seeds(settings: &Settings) -> Result<Vec<Seed>, Failure> {
    let mut seeds = Vec::new();
    for path in &settings.seeds {
        let before = seeds.len();
        for file in files_below(path)? {
            let mut input = std::fs::read(&file).map_err(Failure::file("cannot read", &file))?;
            input.truncate(settings.max_len);
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            seeds.push(Seed { name, input });
        }
        if seeds.len() == before {
            return Err(Failure::usage(format!(
                "{}: no seeds in it; put one small valid input into it, or leave -i out",
                path.display()
            )));
        }
    }
    if seeds.is_empty() {
        // Something to mutate: the empty input, and one byte of each of a few kinds.
        seeds =
            [&b""[..], b"0", b"a", b" "].iter().map(|s| Seed { name: "builtin".into(), input: s.to_vec() }).collect();
    }
    Ok(seeds)
}

fn files_below(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let missing =
        |e: std::io::Error| Failure::usage(format!("{}: {e}; -i wants a folder of seed inputs", path.display()));
    if std::fs::metadata(path).map_err(missing)?.is_file() {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(missing)? {
            let path = entry.map_err(missing)?.path();
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden {
                folders.push(path);
            } else if path.is_file() && !hidden {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Reads dictionaries in AFL's syntax.
///
/// # Errors
/// When one cannot be read; the message names the file.
pub fn read_tokens(dictionaries: &[PathBuf]) -> Result<Tokens, Failure> {
    let mut tokens = Tokens::new();
    for path in dictionaries {
        std::fs::metadata(path).map_err(Failure::file("cannot read", path))?;
        let read = tokens.add_from_file(path).map(|_| ());
        read.map_err(|e| Failure::usage(format!("{}: not a dictionary in AFL's syntax: {e}", path.display())))?;
    }
    Ok(tokens)
}

impl Engine {
    fn open(
        settings: &Settings,
        index: usize,
        mut manifest: Manifest,
        history: History,
        worker: Box<dyn Worker>,
        tokens: Tokens,
        stop: Arc<AtomicBool>,
    ) -> Result<Engine, Failure> {
        if index == 0 {
            manifest.add_builds(worker.modules());
            manifest.save(&settings.out)?;
        }
        let (folder, entries, ids) = Folder::open(&settings.out, &Keeper::name(index))?;
        let stats =
            std::fs::read_to_string(folder.path().join("fuzzer_stats")).map(|t| Stats::read(&t)).unwrap_or_default();
        write_setup(folder.path(), settings)?;
        let mut keeper = Keeper::new(settings, index, folder, stats, stop);
        keeper.stats.tokens = tokens.len();

        let observer = TouchedObserver::new("edges");
        let mut feedback = NoveltyFeedback::new(&observer, history);
        let seed = settings.seed.wrapping_add(index as u64);
        let mut state = state(seed, &mut feedback, settings.max_len).map_err(broken)?;
        let mutator = havoc(&mut state, tokens);
        let fuzzer = StdFuzzer::new(FavouredScheduler::new(), feedback, FindingFeedback);
        let executor = WorkerExecutor::new(worker, observer);
        let stage = BatchStage::new(mutator, keeper, settings.execs_of(index));
        let manager = SimpleEventManager::new(NopMonitor::new());
        let mut engine = Engine { fuzzer, executor, state, manager, stages: (stage, ()) };
        engine.take_up(entries, &ids)?;
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
            self.evaluate(input)?;
            self.stages.0.acts.drop_readopted();
        }
        Ok(())
    }

    fn evaluate(&mut self, input: Vec<u8>) -> Result<bool, Failure> {
        let input = BytesInput::new(input);
        let Engine { fuzzer, executor, state, manager, stages } = self;
        stages.0.evaluate(fuzzer, executor, state, manager, &input).map_err(|e| told(executor, e))
    }

    /// Runs the seeds that no earlier session ran.
    fn take_up_seeds(&mut self, seeds: &[Seed]) -> Result<(), Failure> {
        let path = self.stages.0.acts.path().join("seeds.done");
        let done = std::fs::read_to_string(&path).unwrap_or_default();
        let mut done: std::collections::BTreeSet<String> = done.lines().map(String::from).collect();
        *self.state.corpus_mut().current_mut() = None;
        for seed in seeds {
            let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&seed.input));
            if done.contains(&hash) {
                continue;
            }
            self.stages.0.acts.origin = Origin::Seed(seed.name.clone());
            self.evaluate(seed.input.clone())?;
            self.stages.0.acts.origin = Origin::Mutant(None);
            done.insert(hash);
            if self.stages.0.acts.must_stop() {
                break;
            }
        }
        let text: String = done.iter().map(|hash| format!("{hash}\n")).collect();
        crate::campaign::replace_file(&path, text.as_bytes()).map_err(Failure::file("cannot write", &path))?;
        if self.state.corpus().count() == 0 {
            self.plant(seeds)?;
        }
        Ok(())
    }

    /// Gives the loop something to mutate when no seed touched anything, or all of them are findings.
    fn plant(&mut self, seeds: &[Seed]) -> Result<(), Failure> {
        use crate::engine::stage::{Acts, Kept};
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
    fn fuzz(&mut self, settings: &Settings, name: &str) -> Result<(), Failure> {
        let budget = settings.execs_of(self.index(name)).unwrap_or(u64::MAX);
        let mut peers = Peers::new(&settings.out, name);
        let mut asked = Instant::now();
        self.housekeeping(true)?;
        while *self.state.executions() < budget && !self.stages.0.acts.must_stop() {
            let Engine { fuzzer, executor, state, manager, stages } = self;
            let fuzzed = fuzzer.fuzz_one(stages, executor, state, manager);
            fuzzed.map_err(|e| told(executor, e))?;
            if settings.workers > 1 && asked.elapsed() >= PEERS_EVERY {
                self.hear(&mut peers)?;
                asked = Instant::now();
            }
            self.housekeeping(false)?;
        }
        self.housekeeping(true)?;
        self.stages.0.acts.send_status();
        Ok(())
    }

    fn index(&self, name: &str) -> usize {
        name.trim_start_matches('w').parse().unwrap_or(0)
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
        use crate::engine::stage::Acts;
        let Engine { fuzzer, executor, state, stages, .. } = self;
        let acts = &mut stages.0.acts;
        let modules = executor.worker().modules();
        let history = fuzzer.feedback().history();
        let scheduler = fuzzer.scheduler();
        acts.stats.cycles = acts.stats.cycles.max(scheduler.cycles());
        acts.note(history, modules, state.current_corpus_id().map_err(broken)?);
        acts.tick(*state.executions());
        if now || acts.save_is_due() {
            acts.stats.favoured = scheduler.favoured();
            acts.stats.pending = scheduler.pending();
            acts.save(history, modules).map_err(broken)?;
        }
        Ok(())
    }
}

/// `fuzzer_setup` and `cmdline`, by which afl-whatsup and casr-afl know an instance.
fn write_setup(folder: &Path, settings: &Settings) -> Result<(), Failure> {
    let command = format!("{} fuzz {} -o {}", settings.hitmap, settings.harness, settings.out.display());
    let setup = format!("# command line:\n{command}\n");
    for (name, text) in [("fuzzer_setup", setup), ("cmdline", settings.harness.replace(' ', "\n") + "\n")] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(Failure::file("cannot write", &path))?;
    }
    Ok(())
}

/// The worker's own error when it was one, else LibAFL's or the disk's.
fn told(executor: &mut WorkerExecutor, error: libafl::Error) -> Failure {
    executor.take_error().map_or_else(|| broken(error), Failure::from)
}

fn broken(error: libafl::Error) -> Failure {
    Failure::internal(error.to_string())
}
