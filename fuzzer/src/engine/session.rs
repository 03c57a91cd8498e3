//! One engine's session: start the worker, take up what is there, run the seeds, loop.
//!
//! Nothing is written before the harness was imported and, in a new campaign, an instrumented library
//! was loaded by then or by one of the seeds: a campaign that cannot work leaves no trace.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hitmap_observers::history::History;
use hitmap_observers::snapshot::{FeatureReader, ModuleId};
use hitmap_wire::modules::Module;
use hitmap_wire::region::Layout;

use super::comparisons::Replacing;
use super::driver::Engine;
use super::making;
use super::rand::Xoshiro;
use super::seeds::{Seed, read_seeds, read_tokens};
use crate::campaign::folder::module_of;
use crate::campaign::keeper::Keeper;
use crate::campaign::manifest::Manifest;
use crate::error::Failure;
use crate::launcher::message::Message;
use crate::settings::Settings;
use crate::trust::Made;
use crate::worker::files::Files;
use crate::worker::process::{ProcessWorker, Starting};
use crate::worker::server::{Launch, Variant};
use crate::worker::{Tracer, Worker};

/// Whether this process has anything to save: set before the first write to the campaign folder.
pub static IS_READY: AtomicBool = AtomicBool::new(false);

/// Runs engine number `index` of a campaign until it is told to stop, or its budget of executions is
/// spent. Says
/// whether it was interrupted.
///
/// # Errors
/// With a message for the user.
pub fn run(settings: &Settings, index: usize, budget: Option<u64>, stop: Arc<AtomicBool>) -> Result<bool, Failure> {
    let (mut seeds, cut) = read_seeds(settings)?;
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
    let history = History::new(capacity).map_err(Failure::system("no room for the history"))?;
    let files = Files::new(settings.map_edges).map_err(Failure::system("no room for the map"))?;
    let known: Vec<_> = known.iter().map(module_of).collect();
    let mut worker = ProcessWorker::start(settings.launch(), settings.limits(), files, history.fd(), &known)?;
    let mut builds = manifest.clone();
    builds.check_builds(&settings.out, loaded(&worker, &known))?;
    builds.add_builds(worker.modules());
    let out = settings.out.clone();
    worker.admit(move |modules| {
        // Another engine may have met libraries that this one has not.
        if let Ok(Some(saved)) = Manifest::open(&out) {
            builds.take_builds(saved);
        }
        builds.check_builds(&out, modules).map_err(|refused| refused.message)?;
        builds.add_builds(modules);
        Ok(())
    });
    let mut notes = notes(&worker);
    let mut rand = Xoshiro::new(settings.seed.wrapping_add(index as u64));
    if settings.seeds.is_empty() {
        bring_seeds(&mut worker, &mut rand, settings, &mut seeds, &mut notes)?;
    }
    if is_new {
        prove_instrumented(&mut worker, &seeds, settings)?;
    }
    if settings.bench {
        worker.time_parts();
    }
    if cut > 0 {
        notes.push(format!("seeds longer than --max-len {}, and cut there: {cut}", settings.max_len));
    }

    let replacing = replacing(&worker, settings, &mut notes)?;

    IS_READY.store(true, Ordering::Relaxed);
    let worker = Box::new(worker);
    let mut engine = Engine::open(settings, index, budget, rand, manifest, history, worker, replacing, tokens, stop)?;
    notes.append(&mut engine.notes);
    if index == 0 {
        if !settings.bench {
            notes.extend(Made::by_this_user().and_then(|made| made.remember(&engine.claim())).err());
        }
        // The other engines start afterwards, and find the findings as they are called now.
        engine.take_up_findings(budget)?;
    }
    Message::Ready { notes }.send();
    engine.take_up_seeds(&seeds)?;
    engine.fuzz(settings, index, budget)?;
    Ok(engine.was_interrupted())
}

/// Has the harness's generator make the seeds that the user did not bring.
fn bring_seeds(
    worker: &mut ProcessWorker,
    rand: &mut Xoshiro,
    settings: &Settings,
    seeds: &mut Vec<Seed>,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let makers = worker.makers();
    if makers.generator {
        let made = making::generate(worker, rand, settings.max_len, |miss| notes.push(miss.headline))?;
        if !made.is_empty() {
            *seeds = made.into_iter().map(|input| Seed { name: "generator".into(), input }).collect();
        }
    } else if makers.decodes {
        notes.push(
            "the harness decodes its inputs, and the built-in seeds may not decode: bring some with -i, or give the \
             harness a generator="
                .into(),
        );
    }
    Ok(())
}

/// Starts the comparison worker when there is a build for it. Its import goes on while the seeds run.
fn replacing(worker: &ProcessWorker, settings: &Settings, notes: &mut Vec<String>) -> Result<Replacing, Failure> {
    if worker.makers().replace_chance() {
        // A value that is compared is not to be found in its encoding.
        return Ok(Replacing::absent());
    }
    if !worker.has_comparisons() {
        notes.push(format!(
            "no library was built to tell what it compares, so magic numbers and checksums are left to chance; \
             {} build PACKAGE makes that build, too",
            settings.hitmap
        ));
        return Ok(Replacing::absent());
    }
    let files = Files::new(settings.map_edges).map_err(Failure::system("no room for the map"))?;
    let capacity = files.region.layout().capacity;
    let history = History::new(capacity).map_err(Failure::system("no room for the history"))?;
    let launch = Launch { variant: Variant::Comparisons, ..settings.launch() };
    let starting = Starting::begin(launch, settings.limits(), files, history.fd())?;
    Ok(Replacing::new(Box::new(move || Ok(Box::new(starting.finish()?) as Box<dyn Tracer>))))
}

/// The libraries that are there now: those that were known before count only once they are loaded.
fn loaded<'a>(worker: &'a ProcessWorker, known: &'a [Module]) -> impl Iterator<Item = &'a Module> {
    let is_known = |m: &Module| known.iter().any(|k| k.identity == m.identity);
    worker.modules().iter().filter(move |m| m.load_bias != 0 || !is_known(m))
}

fn known_modules(out: &Path, name: &str) -> Vec<ModuleId> {
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
