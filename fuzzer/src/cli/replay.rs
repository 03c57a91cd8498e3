//! `hitmap replay`: run inputs again, each in a fresh child, and show what becomes of them, and how
//! coverage grows.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hitmap_observers::history::History;
use hitmap_observers::observer::Hit;

use super::fuzz::harness_parser;
use super::inputs::{Input, Inputs, Order};
use super::origin::{Builds, Chosen, Origin};
use super::units::{mebibytes, millis};
use super::worker::WorkerTyped;
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
  hitmap replay out/findings/signal-0123456789abcdef
  hitmap replay out                             all findings, then all entries
  hitmap replay crash.bin --harness harness.py
  hitmap replay signal-0123456789abcdef.tar --trust
  hitmap replay out/w0/queue --order ctime --csv cov_by_time.txt

An input of a campaign is run as that campaign runs its inputs. Harness and
interpreter are the campaign's only if you made it on this machine, or say
--trust: they are programs, and a folder from elsewhere may name any.

Exit codes: 0 no input is a finding, 1 one is, 3 internal error, 4 usage.")]
pub struct Typed {
    /// Files to run, findings, campaigns, or what `hitmap export` made; another folder stands for the files in it
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// The harness; the one of the campaign that the input lies in, when it is left out
    #[arg(long, value_name = "HARNESS.py[:NAME]", value_parser = harness_parser())]
    harness: Option<String>,
    /// Run the harness, with the interpreter, that a campaign from elsewhere names
    #[arg(long)]
    trust: bool,
    /// Time limit of one input, in milliseconds
    #[arg(short = 't', long = "timeout", value_name = "MS", value_parser = millis)]
    timeout_ms: Option<u64>,
    /// Memory limit of one input, in MiB above what the harness has after import; 0 for none
    #[arg(short = 'm', long = "memory", value_name = "MB", value_parser = mebibytes)]
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

/// Runs the inputs; the exit code says whether one is a finding.
///
/// # Errors
/// With a message for the user.
pub fn run(typed: &Typed, front: &Front) -> Result<i32, Failure> {
    let inputs = Inputs::of(&typed.inputs, typed.order)?;
    let origin = Origin::of_all(&inputs.all, typed.harness.is_some())?;
    let chosen = Chosen::of(typed.harness.as_deref(), origin.as_ref(), typed.trust, &inputs.all[0].shown)?;
    let campaign = origin.as_ref().map(|origin| &origin.manifest);
    let limits = Limits {
        timeout: Duration::from_millis(typed.timeout_ms.or(campaign.map(|c| c.timeout_ms)).unwrap_or(1000)),
        memory_mb: typed.memory_mb.or(campaign.map(|c| c.memory_mb)).unwrap_or(2048),
        ..Limits::default()
    };
    let edges = campaign.map_or(hitmap_wire::region::DEFAULT_EDGES, |c| c.map_edges);
    let sanitizer = typed.worker.sanitizer().or(campaign.and_then(|c| c.sanitizer));
    let launch = Launch {
        python: typed.worker.python.clone().or(chosen.python).map_or(front.python.clone(), Into::into),
        harness: chosen.harness,
        memory_mb: limits.memory_mb,
        patience: Duration::from_secs(120),
        variant: sanitizer.map_or(Variant::Ordinary, Variant::Sanitized),
    };
    let files = Files::new(edges).map_err(Failure::system("no room for the map"))?;
    let history = History::new(files.region.layout().capacity).map_err(Failure::system("no room for the history"))?;
    let mut worker = ProcessWorker::start(launch, limits, files, history.fd(), &[])?;
    let mut symbolizer = Symbolizer::default();
    let mut growth = typed.csv.as_deref().map(|path| Growth::new(path, inputs.all[0].nanos)).transpose()?;
    let (mut found, mut hits) = (false, Vec::new());
    let mut builds = campaign.map(Builds::of);
    for input in &inputs.all {
        found |= replay_one(input, &mut worker, &mut symbolizer, typed.json, &mut hits)?;
        if let Some(builds) = &mut builds {
            builds.compare(worker.modules());
        }
        if let Some(growth) = &mut growth {
            growth.add(input.nanos, &hits)?;
        }
    }
    Ok(if found { exit::FINDINGS } else { exit::CLEAN })
}

fn replay_one(
    file: &Input,
    worker: &mut ProcessWorker,
    symbolizer: &mut Symbolizer,
    json: bool,
    hits: &mut Vec<Hit>,
) -> Result<bool, Failure> {
    let path = &file.shown;
    let input = disk::read(&file.path, disk::LONGEST_INPUT).map_err(Failure::disk("cannot run"))?;
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
