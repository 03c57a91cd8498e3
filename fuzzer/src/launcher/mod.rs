//! The launcher: starts one engine process a core, shows where they are, merges what they cover.
//!
//! Owns the terminal, the engine processes and `coverage.hitmap`. Engines exchange inputs through the
//! campaign folder, not through here; one that dies is started again and takes up its folder.

pub mod engines;
pub mod message;
pub mod screen;
pub mod summary;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hitmap_observers::snapshot::Snapshot;

use crate::campaign::sweep_temporaries;
use crate::disk;
use crate::error::{Failure, exit};
use crate::finding::kept::unlisted;
use crate::print;
use crate::settings::Settings;
use engines::{Engines, Event};
use message::Message;
use screen::Screen;

/// How often what the engines cover is merged into the campaign's `coverage.hitmap`.
const MERGE_EVERY: Duration = Duration::from_secs(5);
/// How long engines may take to save and end when they are asked to stop.
const FAREWELL: Duration = Duration::from_secs(30);
/// How often engines are asked to stop.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// Engines that die this often, each, within [`DEATHS_WITHIN`] are a bug of ours, not bad luck.
const DEATHS: usize = 5;
const DEATHS_WITHIN: Duration = Duration::from_secs(600);

/// How the command line was started, so that it can be started again.
#[derive(Clone, Debug)]
pub struct Front {
    /// The command and its leading arguments, as in `[python, "-m", "hitmap"]`.
    pub hitmap: Vec<OsString>,
    /// The Python interpreter that has hitmap installed.
    pub python: OsString,
}

/// Runs a campaign session; returns its exit code.
///
/// # Errors
/// With a message for the user.
pub fn run(settings: &Settings, front: &Front, stop: Arc<AtomicBool>) -> Result<i32, Failure> {
    let began = Instant::now();
    let mut engines = Engines::new(settings, front)?;
    let mut screen = Screen::new(settings);
    let mut session = Session::default();
    engines.start(0, Duration::ZERO, 0)?;
    let mut merged = Instant::now();
    let mut told_to_stop: Option<Instant> = None;
    let mut asked = began;
    // What lies in `findings` is the engine's: it may be a finding.
    sweep_temporaries(&settings.out);
    if let Some(damage) = set_damaged_aside(&settings.out)? {
        screen.note(&damage);
    }
    unlisted(&settings.out.join("findings")).iter().for_each(|damage| screen.note(damage));
    loop {
        match engines.next(Duration::from_millis(100))? {
            None => {}
            Some(Event::Message(index, Message::Ready { notes })) => {
                notes.iter().for_each(|note| screen.note(note));
                if index == 0 && !session.ready {
                    for index in 1..settings.workers {
                        engines.start(index, began.elapsed(), 0)?;
                    }
                }
                session.ready = true;
            }
            Some(Event::Message(_, Message::Note(note))) => screen.note(&note),
            Some(Event::Message(_, Message::Warning(warning))) => screen.warn(&warning),
            Some(Event::Message(_, Message::Bench(_))) => {}
            Some(Event::Message(_, Message::Status(status))) => screen.status(status),
            Some(Event::Message(_, Message::Finding { title, folder })) => screen.finding(&title, &folder),
            Some(Event::Message(_, Message::Done { interrupted })) => session.interrupted |= interrupted,
            Some(Event::Message(_, Message::Failed { code, message })) => {
                engines.wait(FAREWELL);
                screen.end();
                return Err(Failure { code, message });
            }
            Some(Event::Died(index, how)) => {
                session.deaths.retain(|death| death.elapsed() < DEATHS_WITHIN);
                session.deaths.push(Instant::now());
                if session.deaths.len() > DEATHS * settings.workers {
                    engines.wait(FAREWELL);
                    screen.end();
                    return Err(Failure::internal(format!("engine w{index} died again and again, last by {how}")));
                }
                // Who ends the whole group also ends an engine that does not listen yet.
                if told_to_stop.is_some() || how == "SIGTERM" {
                    session.interrupted = true;
                    continue;
                }
                if session.ready {
                    screen.note(&format!("engine w{index} died ({how}); it is started again and takes up its folder"));
                    engines.start(index, began.elapsed(), screen.spent(index))?;
                } else {
                    return Err(Failure::internal(format!("the engine died before it was ready ({how})")));
                }
            }
            Some(Event::Over) => break,
        }
        if stop.load(Ordering::Relaxed) {
            // Again and again: an engine that is just starting does not listen yet.
            session.interrupted = true;
            if told_to_stop.is_none() || asked.elapsed() > ASK_EVERY {
                engines.stop();
                asked = Instant::now();
            }
            told_to_stop.get_or_insert_with(Instant::now);
        }
        if told_to_stop.is_some_and(|at| at.elapsed() > FAREWELL) {
            engines.kill();
        }
        if session.ready && merged.elapsed() >= MERGE_EVERY {
            merge_coverage(&settings.out)?;
            merged = Instant::now();
        }
        screen.draw(began.elapsed());
    }
    screen.end();
    if !session.ready {
        print::line("Stopped before the harness was ready; nothing was written.")?;
        return Ok(exit::INTERRUPTED);
    }
    let coverage = merge_coverage(&settings.out)?;
    let findings = summary::print(settings, &screen, &coverage, began.elapsed(), session.interrupted)?;
    Ok(match (session.interrupted, findings) {
        (true, _) => exit::INTERRUPTED,
        (false, 0) => exit::CLEAN,
        (false, _) => exit::FINDINGS,
    })
}

#[derive(Debug, Default)]
struct Session {
    ready: bool,
    interrupted: bool,
    deaths: Vec<Instant>,
}

/// Renames a `coverage.hitmap` that cannot be read, so that it is not lost when it is made anew from
/// what the workers have. Says what it did.
fn set_damaged_aside(out: &Path) -> Result<Option<String>, Failure> {
    let path = out.join("coverage.hitmap");
    let damage = match Snapshot::load(&path) {
        Err(damage) if !damage.is_not_found() => damage,
        _ => return Ok(None),
    };
    let aside = path.with_extension("hitmap.damaged");
    std::fs::rename(&path, &aside).map_err(Failure::file("cannot rename", &path))?;
    Ok(Some(format!("{damage}; it is now {} and is made anew from what the workers have", aside.display())))
}

/// Merges what every worker of the campaign covers into `coverage.hitmap`. A worker's file that
/// cannot be read is passed over: its worker writes it anew within seconds.
fn merge_coverage(out: &Path) -> Result<Snapshot, Failure> {
    let path = out.join("coverage.hitmap");
    let mut all = match Snapshot::load(&path) {
        Err(e) if !e.is_not_found() => return Err(Failure::usage(e.to_string())),
        loaded => loaded.unwrap_or_default(),
    };
    let before = all.clone();
    let mut executions = 0;
    let folders = std::fs::read_dir(out).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::usage(format!(
            "{}: this folder was moved or deleted while the campaign ran; start again with the same command",
            out.display()
        )),
        _ => Failure::file("cannot read", out)(error),
    })?;
    for folder in folders.flatten() {
        if let Ok(one) = Snapshot::load(folder.path().join("coverage.hitmap")) {
            executions += one.meta.executions;
            all.merge(&one);
        }
    }
    all.meta.executions = executions;
    if all != before {
        all.save(&path).map_err(|error| Failure::disk("cannot write")(disk::of(error)))?;
    }
    Ok(all)
}
