//! `hitmap merge`: one snapshot of many, read one after the other.
//!
//! In memory are the union and the snapshot that is being read, however many there are. Nothing is
//! written until all of them were read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hitmap_observers::snapshot::{Gained, Snapshot};
use hitmap_wire::identity::Identity;
use indicatif::{ProgressBar, ProgressStyle};

use super::maps;
use super::relocate::{self, Relocate};
use crate::error::{Failure, exit};
use crate::launcher::screen::grouped;
use crate::print;

/// From how many snapshots on progress is shown.
const MANY: usize = 16;
/// How often a plain line is written when there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// What the user typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hitmap merge -o all.hitmap a.hitmap b.hitmap
  hitmap merge -o all.hitmap machine1/out machine2/out
  hitmap merge -o new.hitmap out --relocate new/libfoo.so --old old/libfoo.so

A campaign folder stands for its coverage.hitmap. Of every edge the larger hit class stays; the order
does not matter. What was there under the name of -o is replaced at the end, or not at all.")]
pub struct Typed {
    /// Snapshots, or campaign folders
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// The snapshot to write
    #[arg(short = 'o', long = "out", value_name = "OUT.hitmap")]
    out: PathBuf,
    /// Keep different builds of one library side by side; without it they are refused
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    relocate: relocate::Typed,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Merges and writes.
///
/// # Errors
/// With a message for the user; nothing is written then.
pub fn run(typed: &Typed, stop: &AtomicBool) -> Result<i32, Failure> {
    check_out(&typed.out)?;
    let files = typed.inputs.iter().map(|input| maps::file_of(input)).collect::<Result<Vec<_>, _>>()?;
    let mut progress = Progress::new(files.len());
    let mut union = Union::new(typed.force, Relocate::new(&typed.relocate)?);
    for file in &files {
        if stop.load(Ordering::Relaxed) {
            progress.end();
            print::remark(format_args!("hitmap: interrupted; {} was not written", typed.out.display()));
            return Ok(exit::INTERRUPTED);
        }
        union.add(file)?;
        progress.step(&union.all);
    }
    progress.end();
    union.all.save(&typed.out).map_err(|error| Failure::usage(error.to_string()))?;
    report(typed, &union)?;
    Ok(exit::CLEAN)
}

fn check_out(out: &Path) -> Result<(), Failure> {
    let refuse = |why| Failure::usage(format!("cannot write to {}: {why}; name a file with -o", out.display()));
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if out.is_dir() {
        return Err(refuse("it is a folder".to_owned()));
    }
    if !folder.is_dir() {
        return Err(refuse(format!("there is no folder {}", folder.display())));
    }
    Ok(())
}

fn report(typed: &Typed, union: &Union<'_>) -> Result<(), Failure> {
    let (hits, edges, modules) = (union.all.hits(), union.all.total(), union.all.modules().len());
    if typed.json {
        let object = serde_json::json!({
            "out": typed.out.to_string_lossy(), "snapshots": union.read, "hits": hits, "edges": edges,
            "percent": maps::percent(hits, edges), "modules": modules,
            "executions": union.all.meta.executions, "relocated": union.relocate.moved(),
        });
        return print::line(object);
    }
    print::line(format_args!(
        "{}: {} of {} edges ({:.1} %) in {modules} {}, from {} {}",
        typed.out.display(),
        grouped(hits),
        grouped(edges),
        maps::percent(hits, edges),
        if modules == 1 { "module" } else { "modules" },
        union.read,
        if union.read == 1 { "snapshot" } else { "snapshots" },
    ))?;
    union.relocate.told().iter().try_for_each(print::line)
}

/// What was merged so far.
struct Union<'a> {
    all: Snapshot,
    read: usize,
    keeps_builds_apart: bool,
    relocate: Relocate<'a>,
    seen: BTreeSet<PathBuf>,
    /// Where each build was met first, to name it in a refusal.
    first: BTreeMap<Identity, PathBuf>,
}

impl<'a> Union<'a> {
    fn new(keeps_builds_apart: bool, relocate: Relocate<'a>) -> Union<'a> {
        let (seen, first) = (BTreeSet::new(), BTreeMap::new());
        Union { all: Snapshot::default(), read: 0, keeps_builds_apart, relocate, seen, first }
    }

    /// Takes in a file. One that was named before is passed over: its executions must not count twice.
    fn add(&mut self, file: &Path) -> Result<Gained, Failure> {
        if let Ok(path) = std::fs::canonicalize(file)
            && !self.seen.insert(path)
        {
            return Ok(Gained::default());
        }
        let one = self.relocate.apply(maps::load(file)?)?;
        let conflicts = if self.keeps_builds_apart { Vec::new() } else { self.all.conflicts(&one) };
        if !conflicts.is_empty() {
            let told = conflicts.iter().map(|conflict| {
                let left = self.first.get(&conflict.left).map_or(Path::new("those before"), PathBuf::as_path);
                format!("  {}", maps::tell(conflict, left, file))
            });
            return Err(Failure::usage(format!(
                "these are different builds of one library, and their edges do not correspond:\n{}\n\
                 merge snapshots of one build, carry hits over with --relocate, or keep the builds side by side with --force",
                told.collect::<Vec<_>>().join("\n")
            )));
        }
        for module in one.modules() {
            self.first.entry(module.id().identity).or_insert_with(|| file.to_owned());
        }
        self.read += 1;
        Ok(self.all.merge(&one))
    }
}

/// A bar on a terminal, a plain line now and then otherwise, nothing for a few files.
struct Progress {
    bar: ProgressBar,
    plain: Option<Instant>,
}

impl Progress {
    fn new(files: usize) -> Progress {
        let is_live = std::io::stderr().is_terminal();
        let bar = if files < MANY || !is_live { ProgressBar::hidden() } else { ProgressBar::new(files as u64) };
        bar.set_length(files as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} snapshots · {msg} · {eta} left") {
            bar.set_style(style);
        }
        Progress { bar, plain: (files >= MANY && !is_live).then(Instant::now) }
    }

    fn step(&mut self, all: &Snapshot) {
        self.bar.inc(1);
        if !self.bar.is_hidden() {
            self.bar.set_message(format!("{} edges", grouped(all.hits())));
        }
        if self.plain.is_some_and(|last| last.elapsed() >= PLAIN_EVERY) {
            self.plain = Some(Instant::now());
            let of = self.bar.length().unwrap_or(0);
            let edges = grouped(all.hits());
            print::remark(format_args!("{} of {of} snapshots · {edges} edges", self.bar.position()));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::maps::tests::snapshot;

    #[test]
    fn files_are_taken_in_once_and_other_builds_refused() {
        let nothing = relocate::Typed::default();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        snapshot(&[("a.so", 1, 10, &[1, 2])]).save(at("one")).unwrap();
        snapshot(&[("a.so", 1, 10, &[2, 3]), ("b.so", 7, 4, &[0])]).save(at("two")).unwrap();
        snapshot(&[("a.so", 2, 10, &[9])]).save(at("other")).unwrap();

        let mut union = Union::new(false, Relocate::new(&nothing).unwrap());
        assert_eq!(union.add(&at("one")).unwrap().edges, 2);
        assert_eq!(union.add(&at("two")).unwrap().edges, 2);
        assert_eq!(union.add(&at("two")).unwrap().edges, 0);
        assert_eq!((union.read, union.all.hits()), (2, 4));
        let refused = union.add(&at("other")).unwrap_err();
        assert_eq!(refused.code, exit::USAGE);
        for named in [&"01".repeat(20), &"02".repeat(20), "a.so", "/one,", "/other\n", "--force"] {
            assert!(refused.message.contains(named), "{named}: {}", refused.message);
        }
        assert_eq!(union.all.hits(), 4);

        let mut union = Union::new(true, Relocate::new(&nothing).unwrap());
        for name in ["one", "two", "other"] {
            union.add(&at(name)).unwrap();
        }
        assert_eq!((union.all.modules().len(), union.all.hits()), (3, 5));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_first() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_out(folder.path()).unwrap_err().message.contains("it is a folder"));
        assert!(check_out(&folder.path().join("no/x.hitmap")).unwrap_err().message.contains("there is no folder"));
        check_out(&folder.path().join("x.hitmap")).unwrap();
        check_out(Path::new("x.hitmap")).unwrap();
    }
}
