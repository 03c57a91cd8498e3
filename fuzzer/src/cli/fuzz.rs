//! `hitmap fuzz`: from what was typed to [`Settings`], in one place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::units::{mebibytes, millis, seconds, workers};
use super::worker::WorkerTyped;
use crate::campaign::manifest::Manifest;
use crate::disk;
use crate::engine::seeds::{read_seeds, read_tokens};
use crate::error::Failure;
use crate::finding::save::shell_quote;
use crate::launcher::{self, Front};
use crate::settings::Settings;
use crate::worker::limits::Limits;

/// The largest file that is taken for a harness, in bytes; a pickle may hold what the harness refers to.
const LONGEST_HARNESS: u64 = 1 << 30;

/// What the user typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hitmap fuzz harness.py -i corpora/json -x corpora/json.dict --max-time 60
  hitmap fuzz harness.py:parse -o out/parse -j 4
  hitmap fuzz tests/test_x.py::test_name        a test of Hypothesis

Run again on the same -o to go on where it stopped; nothing that is known is run again.")]
pub struct Typed {
    /// The harness: a Python file, and a name in it when it has several
    #[arg(value_name = "HARNESS.py[:NAME]", value_parser = harness_parser())]
    harness: String,
    /// Folders of seed inputs, or files: the same as -i
    #[arg(value_name = "SEEDS")]
    named_seeds: Vec<PathBuf>,
    /// A folder of seed inputs, or one file; may be given again
    #[arg(short = 'i', long = "seeds", value_name = "SEEDS", aliases = ["corpus", "input"])]
    seeds: Vec<PathBuf>,
    /// The campaign folder
    #[arg(short = 'o', long = "out", value_name = "OUT", default_value = "out")]
    out: PathBuf,
    /// Engine processes, one a core
    #[arg(short = 'j', long = "workers", value_name = "N", default_value_t = 1, value_parser = workers, aliases = ["jobs", "cores"])]
    workers: u16,
    /// A dictionary in AFL's syntax; may be given again
    #[arg(short = 'x', long = "dict", value_name = "DICT")]
    dictionaries: Vec<PathBuf>,
    /// Use no tokens but the dictionaries'; else words of the libraries and what they compare are used
    #[arg(long)]
    no_auto_tokens: bool,
    /// Time limit of one input, in milliseconds; 2s is two seconds
    #[arg(short = 't', long = "timeout", value_name = "MS", default_value = "1000", value_parser = millis)]
    timeout_ms: u64,
    /// Memory limit of one input, in MiB above what the harness has after import; 2G is 2048, 0 for none
    #[arg(short = 'm', long = "memory", value_name = "MB", default_value = "2048", value_parser = mebibytes)]
    memory_mb: u64,
    /// Stop after this many seconds; 5m is five minutes, 1h30m an hour and a half
    #[arg(long, value_name = "S", value_parser = seconds, short_alias = 'V', aliases = ["max-total-time", "duration"])]
    max_time: Option<f64>,
    /// Stop after this many executions, of all engines together; what is new among the last is still looked at
    #[arg(long, value_name = "N", short_alias = 'E', aliases = ["runs", "max-runs"])]
    max_execs: Option<u64>,
    /// Seed of the random generator; chosen by the clock when it is left out
    #[arg(long, value_name = "N", short_alias = 's')]
    seed: Option<u64>,
    /// Edges that the map holds
    #[arg(long, value_name = "N", default_value_t = hitmap_wire::region::DEFAULT_EDGES, value_parser = clap::value_parser!(u32).range(1..=(hitmap_wire::region::MAX_EDGES as i64)))]
    map_edges: u32,
    /// The longest input that is made, in bytes
    #[arg(long, value_name = "N", short_alias = 'G', default_value_t = Settings::MAX_LEN as u32, value_parser = clap::value_parser!(u32).range(1..=(8 << 20)))]
    max_len: u32,
    /// `fork` runs many inputs in a forked child; `exec` forks one for each
    #[arg(long, value_name = "HOW", default_value = "fork")]
    isolation: Isolation,
    /// Inputs that a child runs before a new one is forked in its place
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    child_runs: Option<u64>,
    #[command(flatten)]
    worker: WorkerTyped,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Isolation {
    Fork,
    Exec,
}

/// Runs a campaign session.
///
/// # Errors
/// With a message for the user, before anything is written when the input is bad.
pub fn run(typed: Typed, front: &Front, stop: Arc<AtomicBool>) -> Result<i32, Failure> {
    let settings = settings(typed, front)?;
    check_clock()?;
    // All of this is checked again by the engine, which reads it; here it fails before any process is
    // started.
    read_seeds(&settings)?;
    read_tokens(&settings.dictionaries)?;
    if let Some(manifest) = Manifest::open(&settings.out)? {
        manifest.check(&settings)?;
    }
    check_writable(&settings.out)?;
    launcher::run(&settings, front, stop)
}

/// LibAFL counts time from 1970 on and panics before.
///
/// # Errors
/// When the clock says that it is earlier.
pub fn check_clock() -> Result<(), Failure> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let early = |_| Failure::usage("the clock of this machine says that it is before 1970; set it, then start again");
    now.map(drop).map_err(early)
}

fn settings(typed: Typed, front: &Front) -> Result<Settings, Failure> {
    if matches!(typed.isolation, Isolation::Exec) && typed.child_runs.is_some_and(|runs| runs != 1) {
        return Err(Failure::usage("--isolation exec runs one input in a child; leave out --child-runs"));
    }
    let by_clock = crate::campaign::unix_time() ^ u64::from(std::process::id()) << 32;
    Ok(Settings {
        harness: absolute_harness(&typed.harness)?,
        seeds: typed.seeds.iter().chain(&typed.named_seeds).map(|path| absolute(path)).collect::<Result<_, _>>()?,
        out: absolute(&typed.out)?,
        workers: typed.workers.into(),
        dictionaries: typed.dictionaries.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
        timeout_ms: typed.timeout_ms,
        memory_mb: typed.memory_mb,
        runs_per_child: match typed.isolation {
            Isolation::Fork => typed.child_runs.unwrap_or(Limits::default().runs_per_child),
            Isolation::Exec => 1,
        },
        max_time: typed.max_time,
        max_execs: typed.max_execs,
        seed: typed.seed.unwrap_or(by_clock),
        map_edges: typed.map_edges,
        max_len: typed.max_len as usize,
        auto_tokens: !typed.no_auto_tokens,
        sanitizer: typed.worker.sanitizer(),
        bench: false,
        own_python: typed.worker.python.is_some(),
        python: typed.worker.python(front),
        hitmap: as_typed(front),
    })
}

/// The command that starts hitmap, as a user would type it.
pub fn as_typed(front: &Front) -> String {
    let words: Vec<String> = front.hitmap.iter().map(|word| shell_quote(&word.to_string_lossy())).collect();
    let words = words.join(" ");
    // `PREFIX/bin/python -m hitmap` has its script beside the interpreter.
    let script =
        words.strip_suffix(" -m hitmap").and_then(|python| Path::new(python).parent()).map(|p| p.join("hitmap"));
    match script {
        Some(script) if script.is_file() => script.to_string_lossy().into_owned(),
        _ => words,
    }
}

/// A path that means the same from every folder: commands that are printed work anywhere.
///
/// # Errors
/// When there is no current folder, or when the path cannot be written down in `campaign.json`.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(path).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
    utf8(&path)?;
    Ok(path)
}

fn utf8(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure::usage(format!("{}: not UTF-8; rename it, or a folder above", path.display())))
}

/// A harness as typed.
pub fn harness_parser() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new()
        .try_map(|typed| typed.into_string().map_err(|_| "not UTF-8; rename the file, or a folder above"))
}

/// `FILE.py[:NAME]` with the file's absolute path, so that a campaign knows its harness again.
///
/// # Errors
/// When there is no such file.
pub fn absolute_harness(typed: &str) -> Result<String, Failure> {
    let (file, name) = crate::settings::split_harness(typed);
    let path = std::fs::canonicalize(file).map_err(|e| {
        Failure::usage(format!(
            "{file}: {e}; name a Python file that defines a harness, as in harness.py or harness.py:NAME"
        ))
    })?;
    if path.is_dir() {
        return Err(Failure::usage(format!("{file}: a folder; name a Python file that defines a harness")));
    }
    let (_, len) = disk::open(Path::new(file)).map_err(|e| Failure::usage(format!("{e}; name a Python file")))?;
    if len > LONGEST_HARNESS {
        return Err(Failure::usage(format!("{file}: {len} bytes, too large for a harness; name a Python file")));
    }
    let path = utf8(&path)?;
    Ok(name.map_or_else(|| path.to_string(), |name| format!("{path}:{name}")))
}

/// Whether `out`, or the nearest folder above it that exists, can be written.
fn check_writable(out: &Path) -> Result<(), Failure> {
    let mut nearest = out;
    while !nearest.exists() {
        nearest = match nearest.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    let refuse =
        |why: String| Failure::usage(format!("cannot write to {}: {why}; name another folder with -o", out.display()));
    if !nearest.is_dir() {
        return Err(refuse(format!("{} is not a folder", nearest.display())));
    }
    // Asking is not enough: root may do what the file system then refuses.
    tempfile::tempfile_in(nearest).map(drop).map_err(|e| refuse(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harnesses_are_absolute() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().canonicalize().unwrap().join("h.py");
        std::fs::write(&file, "").unwrap();
        let text = file.to_str().unwrap();
        assert_eq!(absolute_harness(text).unwrap(), text);
        assert_eq!(absolute_harness(&format!("{text}:f")).unwrap(), format!("{text}:f"));
        assert_eq!(absolute_harness(&format!("{text}::A::f")).unwrap(), format!("{text}:A.f"));
        assert!(absolute_harness("/nowhere.py").unwrap_err().message.contains("name a Python file"));
    }
}
