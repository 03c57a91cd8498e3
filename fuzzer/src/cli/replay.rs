//! `hitmap replay`: run inputs again, each in a fresh child, and show what becomes of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hitmap_observers::history::History;

use super::fuzz::absolute_harness;
use crate::campaign::manifest::Manifest;
use crate::error::{Failure, exit};
use crate::finding::report::describe;
use crate::finding::symbolize::Symbolizer;
use crate::launcher::Front;
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

Exit codes: 0 no input is a finding, 1 one is.")]
pub struct Typed {
    /// Files to run
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// The harness; the one of the campaign that the input lies in, when it is left out
    #[arg(long, value_name = "HARNESS.py[:NAME]")]
    harness: Option<String>,
    /// Time limit of one input, in milliseconds
    #[arg(short = 't', long = "timeout", value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: Option<u64>,
    /// Memory limit of one input, in MiB above what the harness has after import; 0 for none
    #[arg(short = 'm', long = "memory", value_name = "MB", value_parser = clap::value_parser!(u64).range(0..=1 << 24))]
    memory_mb: Option<u64>,
    /// The Python interpreter that runs the harness
    #[arg(long, value_name = "PATH")]
    python: Option<String>,
    /// Print one JSON object an input
    #[arg(long)]
    json: bool,
}

/// Runs the inputs; the exit code says whether one is a finding.
///
/// # Errors
/// With a message for the user.
pub fn run(typed: &Typed, front: &Front) -> Result<i32, Failure> {
    for input in &typed.inputs {
        std::fs::metadata(input).map_err(Failure::file("cannot read", input))?;
    }
    let campaign = campaign_of(&typed.inputs[0])?;
    for input in typed.inputs.iter().skip(1).filter(|_| typed.harness.is_none()) {
        if campaign_of(input)? != campaign {
            return Err(Failure::usage(format!(
                "{}: of another campaign than {}; replay them one after the other, or name a --harness for all",
                input.display(),
                typed.inputs[0].display()
            )));
        }
    }
    let harness = match (&typed.harness, &campaign) {
        (Some(harness), _) => absolute_harness(harness)?,
        (None, Some(campaign)) => campaign.harness.clone(),
        (None, None) => {
            return Err(Failure::usage(format!(
                "{}: not in a campaign folder; name the harness with --harness HARNESS.py",
                typed.inputs[0].display()
            )));
        }
    };
    let limits = Limits {
        timeout: Duration::from_millis(typed.timeout_ms.or(campaign.as_ref().map(|c| c.timeout_ms)).unwrap_or(1000)),
        memory_mb: typed.memory_mb.or(campaign.as_ref().map(|c| c.memory_mb)).unwrap_or(2048),
        ..Limits::default()
    };
    let edges = campaign.as_ref().map_or(hitmap_wire::region::DEFAULT_EDGES, |c| c.map_edges);
    let python = typed.python.clone().or(campaign.map(|c| c.python)).map_or(front.python.clone(), Into::into);
    let launch = Launch {
        python,
        harness,
        memory_mb: limits.memory_mb,
        patience: Duration::from_secs(120),
        variant: Variant::Ordinary,
    };
    let files = Files::new(edges).map_err(|e| Failure::internal(format!("no memory for the map: {e}")))?;
    let history = History::new(files.region.layout().capacity)
        .map_err(|e| Failure::internal(format!("no memory for the history: {e}")))?;
    let mut worker = ProcessWorker::start(launch, limits, files, history.fd(), &[])?;
    let mut symbolizer = Symbolizer::default();
    let mut found = false;
    for path in &typed.inputs {
        found |= replay_one(path, &mut worker, &mut symbolizer, typed.json)?;
    }
    Ok(if found { exit::FINDINGS } else { exit::CLEAN })
}

fn replay_one(
    path: &Path,
    worker: &mut ProcessWorker,
    symbolizer: &mut Symbolizer,
    json: bool,
) -> Result<bool, Failure> {
    let input = std::fs::read(path).map_err(Failure::file("cannot read", path))?;
    let mut hits = Vec::new();
    let seen = worker.observe(&input, true, &mut hits)?;
    let described = seen.evidence.as_deref().map(|evidence| describe(evidence, symbolizer, worker.modules()));
    if json {
        let report = described.as_ref().map(|d| &d.report);
        let line = serde_json::json!({
            "input": path, "outcome": seen.outcome.word(), "nanos": seen.nanos, "edges": hits.len(), "report": report,
        });
        println!("{line}");
    } else if let Some(described) = &described {
        println!("{}: {} {}", path.display(), seen.outcome.word(), described.report.signature);
        println!("{}", described.traceback.trim_end());
    } else {
        let micros = seen.nanos as f64 / 1000.0;
        println!("{}: {} in {micros:.0} µs, {} edges", path.display(), seen.outcome.word(), hits.len());
    }
    Ok(described.is_some())
}

/// The campaign that a file lies in: the nearest folder above it with a `campaign.json`.
fn campaign_of(input: &Path) -> Result<Option<Manifest>, Failure> {
    let input = std::fs::canonicalize(input).map_err(Failure::file("cannot read", input))?;
    let folder = input.ancestors().skip(1).find(|folder| folder.join("campaign.json").is_file());
    folder.map_or(Ok(None), Manifest::open)
}
