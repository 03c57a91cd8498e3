//! Acts on the engine's decisions: the one place of an engine that touches disk and clock.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libafl::Error;
use libafl::corpus::CorpusId;
use xxhash_rust::xxh3::xxh3_64;

use hitmap_observers::history::History;
use hitmap_observers::observer::Hit;
use hitmap_observers::snapshot::{FeatureRecord, Meta, ModuleMap, Snapshot};
use hitmap_wire::modules::Module;
use hitmap_wire::outcome::Outcome;

use super::folder::{Folder, marks, module_id, split};
use super::health::{Health, State};
use super::names::{self, Origin};
use super::stats::Stats;
use super::{left_overs, unix_time};
use crate::disk;
use crate::engine::stage::{Acts, Found, Kept};
use crate::finding::kept::{Index, all};
use crate::finding::report::{Described, Report, SIGNATURE_VERSION, describe};
use crate::finding::save::{recover, renew, save};
use crate::finding::symbolize::Symbolizer;
use crate::launcher::message::{Message, Status};
use crate::settings::Settings;
use crate::worker::growth::Growth;
use crate::worker::{Evidence, Miss, Tally};

/// A hit that was flagged this often and never came back is silenced.
const FICKLE: u32 = 4;
/// How often the launcher hears of an engine.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// How often coverage and statistics are saved.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// The file in an engine's folder that tells how functions of the harness failed to make inputs.
const MISSES: &str = "mutators.txt";

/// An entry of the queue, by its number in the corpus.
#[derive(Clone, Debug)]
struct Known {
    number: usize,
    name: String,
    depth: usize,
}

/// One engine's memory of what it kept.
pub struct Keeper {
    settings: Settings,
    index: usize,
    folder: Folder,
    /// Counters, written to `fuzzer_stats`.
    pub stats: Stats,
    /// Where the next kept input comes from; back to [`Origin::Mutant`] when it was taken.
    pub origin: Origin,
    /// The campaign's manifest, which each finding takes along.
    pub setup: Vec<u8>,
    /// Under what name a queue file without a record is being run again.
    pub readopted: Option<String>,
    entries: HashMap<CorpusId, Known>,
    next_number: usize,
    symbolizer: Symbolizer,
    findings: Index,
    raw: HashSet<u64>,
    fickle: HashMap<Hit, u32>,
    /// Edges that did not behave the same twice.
    unstable: HashSet<u32>,
    of_findings: HashMap<u32, u8>,
    stop: Arc<AtomicBool>,
    began: Instant,
    earlier: f64,
    deadline: Option<Instant>,
    last_status: (Instant, u64),
    last_save: Instant,
    execs_before: u64,
    cycles_before: u64,
    /// Generations of the entries, by their numbers.
    depths: HashMap<usize, usize>,
    health: Health,
    /// Entries that were run in a fresh child.
    looked_again: usize,
    /// Whether the user knows that children are killed.
    told_of_kills: bool,
}

impl Keeper {
    /// A keeper of engine number `index` that goes on where `stats` left off.
    pub fn new(settings: &Settings, index: usize, folder: Folder, mut stats: Stats, stop: Arc<AtomicBool>) -> Keeper {
        if stats.start_time == 0 {
            stats.start_time = unix_time();
        }
        stats.timeout_ms = settings.timeout_ms;
        stats.stability = 100.0;
        stats.crashes = folder.findings("crashes");
        stats.hangs = folder.findings("hangs");
        let now = Instant::now();
        Keeper {
            index,
            earlier: stats.run_time,
            execs_before: stats.execs,
            cycles_before: stats.cycles,
            depths: HashMap::new(),
            stats,
            folder,
            origin: Origin::Mutant(None),
            setup: Vec::new(),
            readopted: None,
            entries: HashMap::new(),
            next_number: 0,
            symbolizer: Symbolizer::default(),
            findings: Index::new(settings.out.join("findings")),
            raw: HashSet::new(),
            fickle: HashMap::new(),
            unstable: HashSet::new(),
            of_findings: HashMap::new(),
            stop,
            health: Health::new(settings.limits()),
            looked_again: 0,
            told_of_kills: false,
            began: now,
            deadline: settings.max_time.map(|s| now + Duration::from_secs_f64(s.clamp(0.0, 1e9))),
            last_status: (now, 0),
            last_save: now,
            settings: settings.clone(),
        }
    }

    /// The engine's name, and its folder's.
    pub fn name(index: usize) -> String {
        format!("w{index}")
    }

    /// Takes up an entry of an earlier session.
    pub fn adopt(&mut self, id: CorpusId, name: String) {
        let number = names::number(&name).unwrap_or(0);
        let parent = names::parent(&name).and_then(|parent| self.depths.get(&parent));
        let depth = parent.map_or(0, |depth| depth + 1);
        self.depths.insert(number, depth);
        self.enter(id, Known { number, name, depth });
    }

    fn enter(&mut self, id: CorpusId, entry: Known) {
        self.reserve(entry.number);
        self.stats.max_depth = self.stats.max_depth.max(entry.depth);
        self.entries.insert(id, entry);
        self.stats.corpus = self.entries.len();
    }

    /// Numbers below this one are taken, whatever became of the entry.
    pub fn reserve(&mut self, number: usize) {
        self.next_number = self.next_number.max(number + 1);
    }

    /// Records that a queue file was run again and brought nothing: it stays, a target that depends
    /// on chance may have lost it, and it is not run again.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn record_readopted(&mut self, input: &[u8]) -> Result<(), Error> {
        let Some(name) = self.readopted.take() else { return Ok(()) };
        let record = FeatureRecord { name, len: input.len() as u32, extra: marks(input), ..FeatureRecord::default() };
        self.folder.record(record, &[], &[]).map_err(|e| self.lost(&e))
    }

    /// Takes over how often the queue was walked in this session.
    pub fn note_cycles(&mut self, cycles: u64) {
        let before = self.stats.cycles;
        self.stats.cycles = self.cycles_before + cycles;
        self.stats.cycles_wo_finds += self.stats.cycles.saturating_sub(before);
    }

    /// Whether to stop: asked to, or out of time.
    pub fn must_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether it was somebody else who asked to stop.
    pub fn was_interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Milliseconds of all sessions.
    fn millis(&self) -> u64 {
        ((self.earlier + self.began.elapsed().as_secs_f64()) * 1000.0) as u64
    }

    /// Takes over what the loop knows better.
    pub fn note(&mut self, history: &History, modules: &[Module], scheduled: Option<CorpusId>) {
        if self.last_status.0.elapsed() >= STATUS_EVERY {
            self.count_edges(history);
        }
        self.stats.total_edges = modules.iter().filter(|m| !m.is_refused()).map(|m| u64::from(m.edges)).sum();
        self.stats.cur_item = scheduled.and_then(|id| self.entries.get(&id)).map_or(0, |e| e.number);
        // Some were never hit by an input that was run twice, and so stand in no map.
        let never = self.unstable.iter().filter(|edge| history.class(**edge) == 0).count();
        let all = (history.covered() as usize + never).max(1) as f64;
        self.stats.stability = 100.0 * (1.0 - self.stats.unstable_edges as f64 / all);
    }

    /// An entry was run in a fresh child and did not touch `lost` there. It stays, and is marked.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn looked_at_again(&mut self, id: CorpusId, lost: &[u32]) -> Result<(), Error> {
        self.looked_again += 1;
        if lost.is_empty() {
            return Ok(());
        }
        lost.iter().for_each(|edge| self.varies(*edge));
        self.stats.variable += 1;
        let Some(entry) = self.entries.get(&id) else { return Ok(()) };
        self.folder.mark_variable(&entry.name).map_err(|e| self.lost(&e))
    }

    /// Takes over what the worker has done in this session, and says what ails it.
    pub fn examine(&mut self, tally: &Tally, growth: Option<Growth>) {
        let execs = self.stats.execs - self.execs_before.min(self.stats.execs);
        (self.stats.tally, self.stats.growth) = (*tally, growth);
        let share = tally.finding_nanos as f64 / self.began.elapsed().as_nanos().max(1) as f64;
        self.stats.known_bugs = share.min(1.0);
        let drifting = (self.stats.variable, self.looked_again);
        let state = State { kept: self.stats.corpus, stability: self.stats.stability, drifting, growth };
        for warning in self.health.look(tally, execs, &state) {
            Message::Warning(warning).send();
        }
    }

    fn count_edges(&mut self, history: &History) {
        let only_findings = self.of_findings.keys().filter(|edge| history.class(**edge) == 0).count();
        self.stats.edges = history.covered() + only_findings as u64;
    }

    /// Whether it is time to save.
    pub fn save_is_due(&self) -> bool {
        self.last_save.elapsed() >= SAVE_EVERY
    }

    /// Saves coverage and statistics.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn save(&mut self, history: &History, modules: &[Module]) -> Result<(), Error> {
        self.count_edges(history);
        self.last_save = Instant::now();
        self.stats.run_time = self.earlier + self.began.elapsed().as_secs_f64();
        let written = self.stats.write(self.folder.path(), &self.settings.harness, &self.settings.command());
        written.map_err(|e| self.lost(&e))?;
        let path = self.folder.path().join("coverage.hitmap");
        self.snapshot(&self.covered(history, modules), modules)
            .and_then(|snapshot| snapshot.save(path).map_err(|error| self.lost(&disk::of(error))))?;
        self.folder.sync().map_err(|e| self.lost(&e))
    }

    /// Every edge that an entry or a finding reached, once. All edges of all libraries are walked every few
    /// seconds, so what findings reached is looked up for those that are covered.
    fn covered(&self, history: &History, modules: &[Module]) -> Vec<Hit> {
        let of_findings = |edge: u32| self.of_findings.get(&edge).copied().unwrap_or(0);
        let edges = modules.iter().filter(|m| !m.is_refused()).flat_map(Module::range);
        let reached = edges.map(|edge| (edge, history.class(edge))).filter(|(_, class)| *class != 0);
        let only_findings = self.of_findings.iter().filter(|(edge, _)| history.class(**edge) == 0);
        reached
            .map(|(edge, class)| (edge, class.max(of_findings(edge))))
            .chain(only_findings.map(|(edge, class)| (*edge, *class)))
            .collect()
    }

    fn snapshot(&self, hits: &[Hit], modules: &[Module]) -> Result<Snapshot, Error> {
        let mut maps = Vec::new();
        for module in modules.iter().filter(|m| !m.is_refused()) {
            let hits = split(hits, std::slice::from_ref(module)).pop().map(|(_, hits)| hits).unwrap_or_default();
            maps.push(ModuleMap::new(module_id(module), hits).map_err(|e| Error::unknown(e.to_string()))?);
        }
        let meta = Meta {
            created: unix_time(),
            tool: format!("hitmap {}", env!("CARGO_PKG_VERSION")),
            harness: self.settings.harness.clone(),
            executions: self.stats.execs,
            ..Meta::default()
        };
        Ok(Snapshot::new(maps, meta))
    }

    /// Counts an edge as covered although no entry of the corpus reaches it.
    pub fn reached_by_finding(&mut self, edge: u32, class: u8) {
        let old = self.of_findings.entry(edge).or_insert(0);
        *old = (*old).max(class);
    }

    /// The campaign folder cannot be written any more.
    fn lost(&self, why: &std::io::Error) -> Error {
        let out = self.settings.out.display();
        let message = if self.settings.out.exists() {
            let remedy = disk::remedy(why).unwrap_or("mend that");
            format!("cannot write to {out}: {why}; {remedy}, then go on with the same command: what is there is whole")
        } else {
            format!("{out}: this folder was moved or deleted while the campaign ran; start again with the same command")
        };
        Error::os_error(why.kind().into(), message)
    }

    /// Keeps one finding, unless it is there already.
    fn keep_finding(
        &mut self,
        found: &Found<'_>,
        evidence: &Evidence,
        mut described: Described,
        reproduces: bool,
        coverage: &[u8],
    ) -> Result<(), Error> {
        let execs = self.execs_before + found.execs;
        let report = &mut described.report;
        report.reproduces = reproduces;
        report.harness = self.settings.harness.clone();
        report.found_execs = execs;
        report.found_seconds = self.millis() / 1000;
        let title = report.title.clone();
        let (path, new) = save(
            &mut self.findings,
            described,
            found.input,
            Some(coverage),
            &self.settings.hitmap,
            &self.settings.replay_flags(),
            &self.setup,
        )
        .map_err(|e| self.lost(&e))?;
        if !new {
            return Ok(());
        }
        let is_hang = evidence.outcome == Outcome::Timeout;
        let parent = self.number_of(found.parent);
        let name = |id, millis| names::finding(id, evidence.signal, parent, millis, execs);
        self.copy_finding(is_hang, self.millis(), name, found.input)?;
        if is_hang {
            self.stats.last.2 = unix_time();
        } else {
            self.stats.last.1 = unix_time();
            self.stats.execs_at_crash = execs;
        }
        Message::Finding { title, folder: path.to_string_lossy().into_owned() }.send();
        Ok(())
    }

    /// Puts an input where AFL++ has those of findings.
    fn copy_finding(
        &mut self,
        is_hang: bool,
        millis: u64,
        name: impl Fn(usize, u64) -> String,
        input: &[u8],
    ) -> Result<(), Error> {
        let (kind, id) = if is_hang { ("hangs", self.stats.hangs) } else { ("crashes", self.stats.crashes) };
        self.folder.keep_finding(kind, &name(id, millis), input).map_err(|e| self.lost(&e))?;
        if is_hang {
            self.stats.hangs = id + 1;
        } else {
            self.stats.crashes = id + 1;
        }
        Ok(())
    }

    /// Puts each finding's input where AFL++ has those of findings, unless an engine has done so: one that is killed
    /// has not.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn complete_copies(&mut self) -> Result<(), Error> {
        let copied: HashSet<u64> = copies(&self.settings.out).iter().map(|input| xxh3_64(input)).collect();
        for finding in self.known_findings()? {
            let Ok(input) = disk::read(Path::new(&finding.input), disk::LONGEST_INPUT) else { continue };
            if !copied.contains(&xxh3_64(&input)) {
                let is_hang = finding.kind == Outcome::Timeout.word();
                let name = |id, millis| names::finding(id, finding.signal, None, millis, finding.found_execs);
                self.copy_finding(is_hang, finding.found_seconds * 1000, name, &input)?;
            }
        }
        Ok(())
    }

    /// The findings of the campaign.
    ///
    /// # Errors
    /// When their folder cannot be read.
    pub fn known_findings(&self) -> Result<Vec<Report>, Error> {
        all(self.findings.findings(), &self.settings.hitmap).map_err(|e| self.lost(&e))
    }

    /// Takes up what killed engines left of findings that they were writing; what has to be run again is given, with
    /// the folder that it lies in.
    pub fn recover_findings(&mut self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut inputs = Vec::new();
        for left in left_overs(self.findings.findings()) {
            match recover(&mut self.findings, &left) {
                Ok(None) => {}
                Ok(Some(input)) => inputs.push((left, input)),
                Err(error) => self.tell(format!("{}: not recovered: {error}", left.display())),
            }
        }
        inputs
    }

    /// Describes a finding anew that an older rule named, or whose report is damaged, by what a fresh child showed. It
    /// keeps its folder, and its name when it did not come back.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn renew(
        &mut self,
        old: Report,
        seen: Option<&Evidence>,
        hits: &[Hit],
        modules: &[Module],
    ) -> Result<(), Error> {
        let folder = Path::new(&old.input).parent().unwrap_or(Path::new("")).to_owned();
        let is_damaged = old.damage.is_some();
        let mut described = match seen {
            Some(evidence) => describe(evidence, &mut self.symbolizer, modules),
            None => {
                Described { report: Report { tried_version: SIGNATURE_VERSION, ..old.clone() }, ..Described::default() }
            }
        };
        let report = &mut described.report;
        report.reproduces = seen.is_some() || (old.reproduces && !is_damaged);
        report.harness = if is_damaged { self.settings.harness.clone() } else { old.harness };
        if is_damaged && seen.is_none() {
            report.title = "not known: its report was damaged, and it did not come back".into();
        }
        (report.input, report.input_len, report.replay) = (old.input, old.input_len, old.replay);
        (report.found_execs, report.found_seconds) = (old.found_execs, old.found_seconds);
        let coverage = if is_damaged && seen.is_some() { Some(self.snapshot(hits, modules)?.encode()) } else { None };
        renew(&folder, &described, coverage.as_deref(), &self.settings.replay_flags()).map_err(|e| self.lost(&e))?;
        self.raw.extend(seen.map(|evidence| evidence.raw));
        Ok(())
    }

    fn number_of(&self, parent: Option<CorpusId>) -> Option<usize> {
        self.entries.get(&parent?).map(|e| e.number)
    }
}

/// Every input in a `crashes` or `hangs` folder of a campaign.
fn copies(out: &Path) -> Vec<Vec<u8>> {
    let inside = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = inside(out.into()).flat_map(|engine| ["crashes", "hangs"].map(|name| engine.join(name)));
    let is_copy = |path: &PathBuf| path.file_name().is_some_and(|n| names::number(&n.to_string_lossy()).is_some());
    folders.flat_map(inside).filter(is_copy).filter_map(|path| disk::read(&path, disk::LONGEST_INPUT).ok()).collect()
}

/// Whether what the fresh child showed stands for what was seen first: where it was is left to chance, or the
/// first run has no more to say of it.
fn is_told_by(first: &Evidence, again: &Evidence) -> bool {
    let by_chance = matches!(first.outcome, Outcome::Timeout | Outcome::OutOfMemory);
    let undescribed = first.outcome == Outcome::Exception && first.exception.is_none();
    first.raw == again.raw || (first.outcome == again.outcome && (by_chance || undescribed))
}

impl Acts for Keeper {
    fn kept(&mut self, new: Kept<'_>) -> Result<(), Error> {
        let origin = std::mem::replace(&mut self.origin, Origin::Mutant(None));
        let millis = self.millis();
        let execs = self.execs_before + new.execs;
        let (number, name) = match self.readopted.take() {
            Some(name) => (names::number(&name).unwrap_or(self.next_number), name),
            None => {
                let origin = match origin {
                    Origin::Mutant(_) => Origin::Mutant(self.number_of(new.parent)),
                    other => other,
                };
                match origin {
                    Origin::Peer { .. } => self.stats.corpus_imported += 1,
                    Origin::Mutant(_) => self.stats.corpus_found += 1,
                    Origin::Seed(_) => {}
                }
                let name = names::queue(self.next_number, &origin, millis, execs, new.new_edge);
                self.folder.keep_input(&name, new.input).map_err(|e| self.lost(&e))?;
                (self.next_number, name)
            }
        };
        let parent = new.parent.and_then(|p| self.entries.get(&p));
        let depth = parent.map_or(0, |p| p.depth + 1);
        let record = FeatureRecord {
            name: name.clone(),
            parents: parent.map(|p| p.name.clone()).into_iter().collect(),
            found_execs: execs,
            found_ms: millis,
            run_nanos: new.nanos,
            len: new.input.len() as u32,
            extra: marks(new.input),
            ..FeatureRecord::default()
        };
        self.folder.record(record, new.hits, new.modules).map_err(|e| self.lost(&e))?;
        self.enter(new.id, Known { number, name, depth });
        self.stats.last.0 = unix_time();
        self.stats.cycles_wo_finds = 0;
        self.stats.slowest_ms = self.stats.slowest_ms.max(new.nanos / 1_000_000);
        Ok(())
    }

    fn is_known(&mut self, raw: u64) -> bool {
        self.raw.contains(&raw)
    }

    fn found(&mut self, found: Found<'_>) -> Result<(), Error> {
        self.raw.extend(found.first.iter().chain(&found.again).map(|evidence| evidence.raw));
        for (edge, class) in found.hits {
            self.reached_by_finding(*edge, *class);
        }
        let mut describe = |evidence| describe(evidence, &mut self.symbolizer, found.modules);
        let again = found.again.map(|again| (again, describe(again)));
        // What the first run saw is told for itself when the fresh child shows something else.
        let other = found.first.filter(|first| !found.again.is_some_and(|again| is_told_by(first, again)));
        let other = other.map(|first| (first, describe(first)));
        let same = |(_, one): &(_, Described)| again.as_ref().is_some_and(|(_, two)| one.report.is_of(&two.report));
        let other = other.filter(|first| !same(first));
        let coverage = self.snapshot(found.hits, found.modules)?.encode();
        for (evidence, described) in again.into_iter().chain(other) {
            let reproduces = found.again.is_some_and(|again| std::ptr::eq(again, evidence));
            self.keep_finding(&found, evidence, described, reproduces, &coverage)?;
        }
        Ok(())
    }

    fn was_killed(&mut self) {
        if !std::mem::replace(&mut self.told_of_kills, true) {
            self.tell(
                "a process was killed from outside (is the machine out of memory?); its input was run again and did \
                 nothing of the kind, so it is no finding"
                    .into(),
            );
        }
    }

    fn fickle(&mut self, hit: Hit) -> bool {
        let times = self.fickle.entry(hit).or_insert(0);
        *times += 1;
        let silenced = *times == FICKLE;
        if silenced {
            self.varies(hit.0);
        }
        silenced
    }

    fn varies(&mut self, edge: u32) {
        self.unstable.insert(edge);
        self.stats.unstable_edges = self.unstable.len();
    }

    fn tick(&mut self, execs: u64) -> bool {
        self.stats.execs = self.execs_before + execs;
        let elapsed = self.last_status.0.elapsed();
        if elapsed >= STATUS_EVERY {
            self.stats.execs_per_sec = (execs - self.last_status.1.min(execs)) as f64 / elapsed.as_secs_f64();
            self.last_status = (Instant::now(), execs);
            self.send_status();
        }
        self.must_stop()
    }

    fn tell(&mut self, note: String) {
        Message::Note(note).send();
    }

    fn missed(&mut self, miss: &Miss) {
        let path = self.folder.path().join(MISSES);
        let text = format!("{}\n\n{}\n\n", miss.headline, miss.details.trim_end());
        let log = disk::append(&path);
        let more = match log.and_then(|mut log| log.write_all(text.as_bytes())) {
            Ok(()) => format!("; {} has more", path.display()),
            Err(_) => String::new(),
        };
        self.tell(format!("{}; a mutant by chance takes its place{more}", miss.headline));
    }
}

impl Keeper {
    /// Tells the launcher where the engine is.
    pub fn send_status(&self) {
        Message::Status(Status {
            engine: self.index,
            execs: self.stats.execs,
            execs_per_sec: self.stats.execs_per_sec,
            edges: self.stats.edges,
            total_edges: self.stats.total_edges,
            corpus: self.stats.corpus,
            stability: self.stats.stability,
            known_bugs: self.stats.known_bugs,
            ails: self.health.ails(),
        })
        .send();
    }

    /// Where the engine keeps its things.
    pub fn path(&self) -> PathBuf {
        self.folder.path().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hitmap_wire::identity::Identity;

    #[test]
    fn saved_coverage_is_of_entries_and_findings() {
        let out = tempfile::tempdir().unwrap();
        let (folder, _) = Folder::open(out.path(), "w0").unwrap();
        let mut keeper = Keeper::new(&Settings::for_test(out.path()), 0, folder, Stats::default(), Arc::default());
        let mut history = History::new(1 << 16).unwrap();
        let module = Module {
            identity: Identity::new(b"x"),
            path: "/x.so".into(),
            kind: 1,
            base: 4096,
            edges: 100,
            load_bias: 0,
            pc_table: 0,
        };
        [(4096, 1), (4098, 8), (4195, 2)].into_iter().for_each(|(edge, class)| history.raise(edge, class));
        // One that no entry reaches, one that an entry reaches less often, one more often, one of no library.
        for (edge, class) in [(4097, 4), (4096, 2), (4098, 1), (9000, 1)] {
            keeper.reached_by_finding(edge, class);
        }
        keeper.save(&history, std::slice::from_ref(&module)).unwrap();
        let saved = Snapshot::load(out.path().join("w0/coverage.hitmap")).unwrap();
        let map = saved.module(module_id(&module).key()).unwrap();
        let hits: Vec<(u32, u8)> = map.hits().iter().map(|hit| (hit.edge, hit.class)).collect();
        assert_eq!(hits, [(0, 2), (1, 4), (2, 8), (99, 2)]);
    }
}
