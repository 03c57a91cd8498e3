//! What `hitmap replay` is to run: from files, folders of inputs, findings, campaigns and exported findings
//! to inputs, and only those.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::campaign::archive::{self, Unpacked};
use crate::campaign::manifest::FILE;
use crate::campaign::names;
use crate::error::Failure;
use crate::print;

/// The time of a file that its age goes by.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Order {
    /// When the file was last changed, its name and owner included
    Ctime,
    /// When its content was last written; survives copying by cp -p and rsync -a
    Mtime,
}

/// A file to run.
#[derive(Debug)]
pub struct Input {
    /// Where it lies.
    pub path: PathBuf,
    /// What the user calls it.
    pub shown: PathBuf,
    /// Its time in nanoseconds since 1970; 0 when there is no order.
    pub nanos: i128,
}

/// Files to run, in their order.
#[derive(Default)]
pub struct Inputs {
    /// One at least.
    pub all: Vec<Input>,
    order: Option<Order>,
    /// What they lie in when they came in an archive.
    unpacked: Vec<Unpacked>,
}

impl Inputs {
    /// The files that were named, and those that are inputs in the folders that were named.
    ///
    /// # Errors
    /// When something is not there, or there is no input.
    pub fn of(named: &[PathBuf], order: Option<Order>) -> Result<Inputs, Failure> {
        let mut inputs = Inputs { order, ..Inputs::default() };
        for path in named {
            let about = std::fs::metadata(path).map_err(Failure::file("cannot read", path))?;
            if about.is_dir() {
                inputs.folder(path)?;
            } else if is_record(path) {
                print::remark(format_args!("note: {} is a campaign's record, not an input; left out", path.display()));
            } else if archive::is_one(path) {
                let unpacked = archive::unpack(path)?;
                inputs.add(unpacked.path().join("input"), path.join("input"))?;
                inputs.unpacked.push(unpacked);
            } else {
                inputs.add(path.clone(), path.clone())?;
            }
        }
        if inputs.all.is_empty() {
            return Err(Failure::usage(format!("{}: no file in it that is an input; name inputs", named[0].display())));
        }
        // Files of one time stay in the order of their names.
        inputs.all.sort_by_key(|input| input.nanos);
        Ok(inputs)
    }

    fn add(&mut self, path: PathBuf, shown: PathBuf) -> Result<(), Failure> {
        let about = std::fs::metadata(&path).map_err(Failure::file("cannot read", &path))?;
        self.all.push(Input { path, shown, nanos: time_of(&about, self.order) });
        Ok(())
    }

    /// A campaign stands for its findings and queues, the findings' folder for the findings, a finding for its
    /// input, an engine's folder for what AFL++ has in one, and any other folder for the files in it.
    fn folder(&mut self, folder: &Path) -> Result<(), Failure> {
        let inside = listing(folder)?;
        let folders = || inside.iter().filter(|path| path.is_dir());
        let is_campaign = folder.join(FILE).symlink_metadata().is_ok();
        if is_finding(folder) {
            return self.add(folder.join("input"), folder.join("input"));
        }
        if is_instance(folder) {
            return ["queue", "crashes", "hangs"].iter().map(|name| folder.join(name)).try_for_each(|f| self.files(&f));
        }
        let (mut findings, mut queues) = (Vec::new(), Vec::new());
        for path in folders() {
            match path {
                path if is_finding(path) => findings.push(path.join("input")),
                path if path.ends_with("findings") && is_campaign => {
                    findings
                        .extend(listing(path)?.iter().filter(|path| is_finding(path)).map(|path| path.join("input")));
                }
                path if is_instance(path) => queues.push(path.join("queue")),
                _ => {}
            }
        }
        if !is_campaign && findings.is_empty() && queues.is_empty() {
            return self.files(folder);
        }
        findings.into_iter().try_for_each(|input| self.add(input.clone(), input))?;
        queues.iter().try_for_each(|queue| self.files(queue))
    }

    fn files(&mut self, folder: &Path) -> Result<(), Failure> {
        if !folder.is_dir() {
            return Ok(());
        }
        let mut files = listing(folder)?;
        files.retain(|path| path.is_file() && !is_record(path));
        files.into_iter().try_for_each(|path| self.add(path.clone(), path))
    }
}

/// The names in a folder that are not hidden, in order.
fn listing(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut inside = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Failure::file("cannot list", folder))? {
        let path = entry.map_err(Failure::file("cannot list", folder))?.path();
        if !name_of(&path).starts_with('.') {
            inside.push(path);
        }
    }
    inside.sort();
    Ok(inside)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_finding(folder: &Path) -> bool {
    folder.join("input").is_file() && folder.join("report.json").symlink_metadata().is_ok()
}

/// An engine's folder, or one of AFL++'s.
fn is_instance(folder: &Path) -> bool {
    folder.join("queue").is_dir()
}

/// Whether a file is what a campaign says of itself: a file of a finding besides the input, of an engine's or
/// a campaign's folder, or the words that AFL++ leaves beside crashes.
fn is_record(path: &Path) -> bool {
    let name = name_of(path);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let beside_entries = || listing(folder).is_ok_and(|all| all.iter().any(|p| names::number(&name_of(p)).is_some()));
    (is_finding(folder) && name != "input" && archive::is_part(&name))
        || is_instance(folder)
        || (folder.join(FILE).is_file() && [FILE, "coverage.hitmap"].contains(&name.as_str()))
        || (name == "README.txt" && (folder.ends_with("crashes") || folder.ends_with("hangs") || beside_entries()))
}

fn time_of(about: &Metadata, order: Option<Order>) -> i128 {
    let (seconds, nanos) = match order {
        Some(Order::Ctime) => (about.ctime(), about.ctime_nsec()),
        Some(Order::Mtime) => (about.mtime(), about.mtime_nsec()),
        None => (0, 0),
    };
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A campaign with a finding and two engines, one of AFL++'s, a plain folder.
    fn tree(top: &Path) {
        for file in [
            "out/campaign.json",
            "out/coverage.hitmap",
            "out/findings/signal-aa/input",
            "out/findings/signal-aa/report.json",
            "out/findings/signal-aa/test_aa.py",
            "out/findings/signal-aa/setup.json",
            "out/findings/.making-1-x/input",
            "out/w0/queue/id:000000",
            "out/w0/queue/id:000001",
            "out/w0/queue/.state/x",
            "out/w0/fuzzer_stats",
            "out/w0/crashes/id:000000",
            "out/w0/crashes/README.txt",
            "out/w1/queue/id:000000",
            "out/w1/plot_data",
            "afl/default/queue/id:000000",
            "afl/default/crashes/README.txt",
            "afl/default/fuzzer_stats",
            "plain/b",
            "plain/a",
            "plain/.hidden",
            "plain/README.txt",
            "plain/sub/c",
        ] {
            let path = top.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
    }

    #[test]
    fn what_is_an_input_is_run_and_nothing_else() {
        let top = tempfile::tempdir().unwrap();
        tree(top.path());
        for (named, inputs) in [
            (
                vec!["out"],
                vec![
                    "out/findings/signal-aa/input",
                    "out/w0/queue/id:000000",
                    "out/w0/queue/id:000001",
                    "out/w1/queue/id:000000",
                ],
            ),
            (vec!["out/findings"], vec!["out/findings/signal-aa/input"]),
            (vec!["out/findings/signal-aa"], vec!["out/findings/signal-aa/input"]),
            (
                vec!["out/findings/signal-aa/report.json", "out/findings/signal-aa/input"],
                vec!["out/findings/signal-aa/input"],
            ),
            (vec!["out/w0"], vec!["out/w0/queue/id:000000", "out/w0/queue/id:000001", "out/w0/crashes/id:000000"]),
            (vec!["out/w0/crashes"], vec!["out/w0/crashes/id:000000"]),
            (vec!["out/w0/crashes/README.txt", "plain/a"], vec!["plain/a"]),
            (vec!["afl"], vec!["afl/default/queue/id:000000"]),
            (vec!["afl/default"], vec!["afl/default/queue/id:000000"]),
            (vec!["plain"], vec!["plain/README.txt", "plain/a", "plain/b"]),
            (vec!["plain/README.txt"], vec!["plain/README.txt"]),
        ] {
            let named: Vec<PathBuf> = named.iter().map(|name| top.path().join(name)).collect();
            let found = Inputs::of(&named, None).unwrap();
            let found: Vec<PathBuf> = found.all.into_iter().map(|input| input.path).collect();
            let inputs: Vec<PathBuf> = inputs.iter().map(|name| top.path().join(name)).collect();
            assert_eq!(found, inputs, "{named:?}");
        }
        for none in ["out/campaign.json", "out/w0/fuzzer_stats", "afl/default/crashes"] {
            assert!(Inputs::of(&[top.path().join(none)], None).is_err(), "{none}");
        }
    }
}
