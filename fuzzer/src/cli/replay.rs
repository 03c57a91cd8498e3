//! `hitmap replay`: run inputs again, each in a fresh child, and show what becomes of them, and how
//! coverage grows.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hitmap_observers::history::History;
use hitmap_observers::observer::Hit;

use super::fuzz::{absolute_harness, harness_parser};
use super::worker::WorkerTyped;
use crate::campaign::manifest::Manifest;
use crate::disk;
use crate::error::{Failure, exit};
use crate::finding::report::describe;
use crate::finding::symbolize::Symbolizer;
use crate::launcher::Front;
use crate::print;
use crate::worker::Worker;
use crate::worker::files::Files;
use crate::worker::limits::Limits;
use crate::worker::process::ProcessWorker;
use crate::worker::server::{Launch, Variant};

/// What the user typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hitmap replay out/findings/signal-0123456789abcdef/input
  hitmap replay crash.bin --harness harness.py
  hitmap replay out/w0/queue --order ctime --csv cov_by_time.txt

An input that lies in a campaign's folder is run as that campaign runs its inputs.

Exit codes: 0 no input is a finding, 1 one is, 3 internal error, 4 usage.")]
pub struct Typed {
    /// Files to run; a folder stands for the files in it
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// The harness; the one of the campaign that the input lies in, when it is left out
    #[arg(long, value_name = "HARNESS.py[:NAME]", value_parser = harness_parser())]
    harness: Option<String>,
    /// Time limit of one input, in milliseconds
    #[arg(short = 't', long = "timeout", value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: Option<u64>,
    /// Memory limit of one input, in MiB above what the harness has after import; 0 for none
    #[arg(short = 'm', long = "memory", value_name = "MB", value_parser = clap::value_parser!(u64).range(0..=1 << 24))]
    memory_mb: Option<u64>,
    /// Run the oldest file first, instead of as named
    #[arg(long, value_name = "TIME")]
    order: Option<Order>,
    /// Write how coverage grew, a line a file: seconds since the first file was made, edges so far
    #[arg(long, value_name = "FILE", requires = "order")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    worker: WorkerTyped,
    /// Print one JSON object an input
    #[arg(long)]
    json: bool,
}

/// The time of a file that its age goes by.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Order {
    /// When the file was last changed, its name and owner included
    Ctime,
    /// When its content was last written; survives copying by cp -p and rsync -a
    Mtime,
}

/// Runs the inputs; the exit code says whether one is a finding.
///
/// # Errors
/// With a message for the user.
pub fn run(typed: &Typed, front: &Front) -> Result<i32, Failure> {
    let inputs = inputs(&typed.inputs, typed.order)?;
    let campaign = campaign_of(&inputs[0].path)?;
    for Input { path: input, .. } in inputs.iter().skip(1).filter(|_| typed.harness.is_none()) {
        if campaign_of(input)? != campaign {
            return Err(Failure::usage(format!(
                "{}: of another campaign than {}; replay them one after the other, or name a --harness for all",
                input.display(),
                inputs[0].path.display()
            )));
        }
    }
    let harness = match (&typed.harness, &campaign) {
        (Some(harness), _) => absolute_harness(harness)?,
        (None, Some(campaign)) => campaign.harness.clone(),
        (None, None) => {
            return Err(Failure::usage(format!(
                "{}: not in a campaign folder; name the harness with --harness HARNESS.py",
                inputs[0].path.display()
            )));
        }
    };
    let limits = Limits {
        timeout: Duration::from_millis(typed.timeout_ms.or(campaign.as_ref().map(|c| c.timeout_ms)).unwrap_or(1000)),
        memory_mb: typed.memory_mb.or(campaign.as_ref().map(|c| c.memory_mb)).unwrap_or(2048),
        ..Limits::default()
    };
    let edges = campaign.as_ref().map_or(hitmap_wire::region::DEFAULT_EDGES, |c| c.map_edges);
    let sanitizer = typed.worker.sanitizer().or(campaign.as_ref().and_then(|c| c.sanitizer));
    let python = typed.worker.python.clone().or(campaign.map(|c| c.python)).map_or(front.python.clone(), Into::into);
    let launch = Launch {
        python,
        harness,
        memory_mb: limits.memory_mb,
        patience: Duration::from_secs(120),
        variant: sanitizer.map_or(Variant::Ordinary, Variant::Sanitized),
    };
    let files = Files::new(edges).map_err(Failure::system("no room for the map"))?;
    let history = History::new(files.region.layout().capacity).map_err(Failure::system("no room for the history"))?;
    let mut worker = ProcessWorker::start(launch, limits, files, history.fd(), &[])?;
    let mut symbolizer = Symbolizer::default();
    let mut growth = typed.csv.as_deref().map(|path| Growth::new(path, inputs[0].nanos)).transpose()?;
    let (mut found, mut hits) = (false, Vec::new());
    for Input { path, nanos } in &inputs {
        found |= replay_one(path, &mut worker, &mut symbolizer, typed.json, &mut hits)?;
        if let Some(growth) = &mut growth {
            growth.add(*nanos, &hits)?;
        }
    }
    Ok(if found { exit::FINDINGS } else { exit::CLEAN })
}

fn replay_one(
    path: &Path,
    worker: &mut ProcessWorker,
    symbolizer: &mut Symbolizer,
    json: bool,
    hits: &mut Vec<Hit>,
) -> Result<bool, Failure> {
    let input = disk::read(path, disk::LONGEST_INPUT).map_err(Failure::disk("cannot run"))?;
    hits.clear();
    let seen = worker.observe(&input, true, hits)?;
    let described = seen.evidence.as_deref().map(|evidence| describe(evidence, symbolizer, worker.modules()));
    if json {
        let report = described.as_ref().map(|d| &d.report);
        let line = serde_json::json!({
            "input": path.to_string_lossy(), "outcome": seen.outcome.word(), "nanos": seen.nanos, "edges": hits.len(), "report": report,
        });
        print::line(line)?;
    } else if let Some(described) = &described {
        print::line(format_args!("{}: {} {}", path.display(), seen.outcome.word(), described.report.signature))?;
        print::line(described.traceback.trim_end())?;
    } else {
        let micros = seen.nanos as f64 / 1000.0;
        let (word, edges) = (seen.outcome.word(), hits.len());
        print::line(format_args!("{}: {word} in {micros:.0} µs, {edges} edges", path.display()))?;
    }
    Ok(described.is_some())
}

/// A file to run, and its time in nanoseconds since 1970; 0 when there is no order.
struct Input {
    path: PathBuf,
    nanos: i128,
}

/// The files that were named, and those in the folders that were named, in their order.
fn inputs(named: &[PathBuf], order: Option<Order>) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::new();
    for path in named {
        let about = std::fs::metadata(path).map_err(Failure::file("cannot read", path))?;
        if !about.is_dir() {
            inputs.push(Input { path: path.clone(), nanos: time_of(&about, order) });
            continue;
        }
        let before = inputs.len();
        for entry in std::fs::read_dir(path).map_err(Failure::file("cannot list", path))? {
            let file = entry.map_err(Failure::file("cannot list", path))?.path();
            let about = std::fs::metadata(&file).map_err(Failure::file("cannot read", &file))?;
            if about.is_file() {
                inputs.push(Input { path: file, nanos: time_of(&about, order) });
            }
        }
        inputs[before..].sort_by(|a, b| a.path.cmp(&b.path));
    }
    if inputs.is_empty() {
        return Err(Failure::usage(format!("{}: no file in this folder; name inputs", named[0].display())));
    }
    // Files of one time stay in the order of their names.
    inputs.sort_by_key(|input| input.nanos);
    Ok(inputs)
}

fn time_of(about: &Metadata, order: Option<Order>) -> i128 {
    let (seconds, nanos) = match order {
        Some(Order::Ctime) => (about.ctime(), about.ctime_nsec()),
        Some(Order::Mtime) => (about.mtime(), about.mtime_nsec()),
        None => (0, 0),
    };
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

/// How coverage grows from file to file, as Tzer's `cov_by_time.txt` has it: seconds with two
/// decimals, a comma, the edges that were hit so far, another comma.
struct Growth<'a> {
    path: &'a Path,
    file: File,
    began: i128,
    edges: HashSet<u32>,
}

impl Growth<'_> {
    fn new(path: &Path, began: i128) -> Result<Growth<'_>, Failure> {
        let file = File::create(path).map_err(Failure::file("cannot write", path))?;
        Ok(Growth { path, file, began, edges: HashSet::new() })
    }

    fn add(&mut self, nanos: i128, hits: &[Hit]) -> Result<(), Failure> {
        self.edges.extend(hits.iter().map(|(edge, _)| edge));
        let seconds = (nanos - self.began) as f64 / 1e9;
        writeln!(self.file, "{seconds:.2},{},", self.edges.len()).map_err(Failure::file("cannot write", self.path))
    }
}

/// The campaign that a file lies in: the nearest folder above it with a `campaign.json`.
fn campaign_of(input: &Path) -> Result<Option<Manifest>, Failure> {
    let input = std::fs::canonicalize(input).map_err(Failure::file("cannot read", input))?;
    let folder = input.ancestors().skip(1).find(|folder| folder.join("campaign.json").symlink_metadata().is_ok());
    folder.map_or(Ok(None), Manifest::open)
}
