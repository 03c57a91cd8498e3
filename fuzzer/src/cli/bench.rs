//! `hitmap bench`: where the time of a run goes, and what would help.
//!
//! Runs a real engine in a folder that is thrown away, with clocks around its parts, and adds up. What it
//! prints is of this machine at this moment: with other things running, hand-over grows.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::fuzz::{absolute, absolute_harness, as_typed, check_clock, harness_parser};
use super::units::{mebibytes, millis, seconds};
use super::worker::WorkerTyped;
use crate::campaign::health::{Warning, ails, ails_of_time};
use crate::engine::seeds::read_seeds;
use crate::engine::spent::Bench;
use crate::error::{Failure, exit};
use crate::launcher::Front;
use crate::launcher::engines::{Engines, Event};
use crate::launcher::message::Message;
use crate::launcher::screen::grouped;
use crate::print;
use crate::settings::Settings;
use crate::worker::limits::Limits;

/// What the user typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  hitmap bench harness.py -i corpora/json --max-time 10

mutation     making inputs
comparisons  asking the comparison build what an input is compared with
hand-over    giving inputs to the child, waking it, hearing of the end
harness      the call: Python and the library
map          reading what was covered and clearing it
forks        new children in the place of lost ones
judging      running again what is new or a finding, and keeping it
rest         the schedule, entries in fresh children, statistics, the disk")]
pub struct Typed {
    /// The harness: a Python file, and a name in it when it has several
    #[arg(value_name = "HARNESS.py[:NAME]", value_parser = harness_parser())]
    harness: String,
    /// A folder of seed inputs, or one file; may be given again
    #[arg(short = 'i', long = "seeds", value_name = "SEEDS")]
    seeds: Vec<PathBuf>,
    /// Time limit of one input, in milliseconds
    #[arg(short = 't', long = "timeout", value_name = "MS", default_value = "1000", value_parser = millis)]
    timeout_ms: u64,
    /// Memory limit of one input, in MiB above what the harness has after import; 0 for none
    #[arg(short = 'm', long = "memory", value_name = "MB", default_value = "2048", value_parser = mebibytes)]
    memory_mb: u64,
    /// Stop after this many seconds
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    max_time: f64,
    /// Stop after this many executions
    #[arg(long, value_name = "N")]
    max_execs: Option<u64>,
    /// Seed of the random generator
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Edges that the map holds
    #[arg(long, value_name = "N", default_value_t = hitmap_wire::region::DEFAULT_EDGES, value_parser = clap::value_parser!(u32).range(1..=(hitmap_wire::region::MAX_EDGES as i64)))]
    map_edges: u32,
    #[command(flatten)]
    worker: WorkerTyped,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Measures, and prints.
///
/// # Errors
/// With a message for the user.
pub fn run(typed: &Typed, front: &Front, stop: &AtomicBool) -> Result<i32, Failure> {
    let folder = tempfile::tempdir().map_err(|e| Failure::internal(format!("no folder for temporary files: {e}")))?;
    let settings = settings(typed, front, folder.path().join("out"))?;
    check_clock()?;
    read_seeds(&settings)?;
    let Some(bench) = measure(&settings, front, stop)? else { return Ok(exit::INTERRUPTED) };
    if bench.tally.runs == 0 {
        return Err(Failure::usage("nothing was run in that time; give it more with --max-time"));
    }
    if typed.json {
        print::line(json_of(&bench))?;
    } else {
        print::line(text(&bench))?;
    }
    Ok(exit::CLEAN)
}

fn settings(typed: &Typed, front: &Front, out: PathBuf) -> Result<Settings, Failure> {
    Ok(Settings {
        auto_tokens: true,
        harness: absolute_harness(&typed.harness)?,
        seeds: typed.seeds.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
        out,
        workers: 1,
        dictionaries: Vec::new(),
        timeout_ms: typed.timeout_ms,
        memory_mb: typed.memory_mb,
        runs_per_child: Limits::default().runs_per_child,
        max_time: Some(typed.max_time),
        max_execs: typed.max_execs,
        seed: typed.seed,
        map_edges: typed.map_edges,
        max_len: Settings::MAX_LEN,
        sanitizer: typed.worker.sanitizer(),
        bench: true,
        own_python: typed.worker.python.is_some(),
        python: typed.worker.python(front),
        hitmap: as_typed(front),
    })
}

/// Runs one engine until its time is up; `None` when it was stopped before it had anything to tell.
fn measure(settings: &Settings, front: &Front, stop: &AtomicBool) -> Result<Option<Bench>, Failure> {
    let mut engines = Engines::new(settings, front)?;
    engines.start(0, Duration::ZERO, 0)?;
    let mut bench = None;
    loop {
        match engines.next(Duration::from_millis(100))? {
            Some(Event::Message(_, Message::Bench(told))) => bench = Some(told),
            Some(Event::Message(_, Message::Ready { notes })) => {
                notes.iter().for_each(|note| print::remark(format_args!("note: {note}")));
            }
            Some(Event::Message(_, Message::Failed { code, message })) => return Err(Failure { code, message }),
            Some(Event::Died(_, how)) => return Err(Failure::internal(format!("the engine died ({how})"))),
            Some(Event::Over) => return Ok(bench),
            Some(Event::Message(..)) | None => {}
        }
        if stop.load(Ordering::Relaxed) {
            engines.stop();
        }
    }
}

/// Names, in the order of the loop, and nanoseconds.
fn parts(bench: &Bench) -> [(&'static str, u64); 8] {
    let (spent, tally) = (&bench.spent, &bench.tally);
    let nanos = |d: Duration| d.as_nanos() as u64;
    let known = [tally.harness_nanos, tally.map_nanos, tally.fork_nanos];
    let inside = nanos(spent.batches);
    let visited = spent.comparisons + spent.mutation + spent.batches + spent.judging;
    [
        ("mutation", nanos(spent.mutation)),
        ("comparisons", nanos(spent.comparisons)),
        ("hand-over", known.iter().fold(inside, |left, part| left.saturating_sub(*part))),
        ("harness", tally.harness_nanos),
        ("map", tally.map_nanos),
        ("forks", tally.fork_nanos),
        ("judging", nanos(spent.judging)),
        ("rest", nanos(spent.all.saturating_sub(visited))),
    ]
}

/// What would help, the most first; never empty.
fn advice(bench: &Bench) -> Vec<String> {
    let parts = parts(bench);
    let all: u64 = parts.iter().map(|(_, nanos)| nanos).sum();
    let share = |name: &str| {
        let nanos = parts.iter().find(|(part, _)| *part == name).map_or(0, |(_, nanos)| *nanos);
        100.0 * nanos as f64 / all.max(1) as f64
    };
    let tally = &bench.tally;
    let warnings: Vec<Warning> = ails(tally, bench.kept).into_iter().chain(ails_of_time(&tally.watched)).collect();
    let mut advice: Vec<String> = warnings.into_iter().map(|warning| warning.text).collect();
    let map = share("map");
    if map > 30.0 && bench.swept > 4 * bench.journalled && bench.swept > 20_000 {
        advice.push(format!(
            "the sweep of {} edges after each run is {map:.0} % of the time: build with `hitmap build --lto`, which \
             keeps a journal of what was touched",
            grouped(bench.swept)
        ));
    }
    let forks = share("forks");
    if forks > 20.0 {
        advice.push(format!(
            "forks are {forks:.0} % of the time, {} of them: a process with little memory forks quickly, so import \
             and load less in the harness's file",
            grouped(tally.children)
        ));
    }
    let hand_over = share("hand-over");
    if hand_over > 40.0 && ails_of_time(&tally.watched).is_empty() && tally.died * 100 < tally.runs {
        advice.push(format!(
            "hand-over is {hand_over:.0} % of the time: the target is quick, and engine and child wait for each \
             other; measure again when nothing else runs, and if it stays so, use more cores (-j)"
        ));
    }
    if hand_over > 40.0 && tally.died * 100 >= tally.runs.max(1) {
        advice.push(format!(
            "hand-over is {hand_over:.0} % of the time, and {} inputs ended the child: each costs the wait for its \
             end, and a time-out all of its limit; mend the bug that is hit most, or lower -t",
            grouped(tally.died)
        ));
    }
    let judging = share("judging");
    if judging > 40.0 {
        advice.push(format!(
            "judging is {judging:.0} % of the time: much is still new at the start of a campaign; measure again with \
             seeds from a grown queue (-i OUT/w0/queue), or for longer (--max-time)"
        ));
    }
    let harness = share("harness");
    if harness > 70.0 {
        let micros = tally.harness_nanos as f64 / 1000.0 / tally.runs.max(1) as f64;
        advice.push(format!(
            "{harness:.0} % of the time is the harness's own, {micros:.1} µs a call: the engine cannot make this \
             faster; do less in the harness (move set-up to the file's top level), give shorter seeds, or use more \
             cores (-j)"
        ));
    }
    if advice.is_empty() {
        advice.push("nothing stands out: no single part is worth your time; use more cores (-j)".into());
    }
    advice
}

fn how_the_map_is_read(bench: &Bench) -> String {
    match (bench.swept, bench.journalled) {
        (swept, 0) => format!("sweep of {} edges", grouped(swept)),
        (0, journalled) => format!("journal of {} edges", grouped(journalled)),
        (swept, journalled) => format!("sweep of {} edges, journal of {}", grouped(swept), grouped(journalled)),
    }
}

fn text(bench: &Bench) -> String {
    let parts = parts(bench);
    let (runs, all) = (bench.tally.runs + bench.tally.alone, parts.iter().map(|(_, nanos)| nanos).sum::<u64>());
    let seconds = bench.spent.all.as_secs_f64();
    let rate = grouped((runs as f64 / seconds) as u64);
    let mut lines = vec![format!("{} runs in {seconds:.1} s, {rate} a second", grouped(runs))];
    lines.push(format!("\n{:<12} {:>12} {:>8}", "", "µs a run", "share"));
    for (name, nanos) in parts {
        let note = if name == "map" { format!("  {}", how_the_map_is_read(bench)) } else { String::new() };
        let micros = nanos as f64 / 1000.0 / runs as f64;
        let share = 100.0 * nanos as f64 / all.max(1) as f64;
        lines.push(format!("{name:<12} {micros:>12.3} {share:>6.1} %{note}"));
    }
    lines.push("\nWhat would help:".into());
    lines.extend(advice(bench).iter().map(|text| format!("- {text}")));
    lines.join("\n")
}

fn json_of(bench: &Bench) -> serde_json::Value {
    let tally = &bench.tally;
    let parts: serde_json::Map<String, serde_json::Value> =
        parts(bench).into_iter().map(|(name, nanos)| (name.replace('-', "_"), json!(nanos))).collect();
    json!({
        "runs": tally.runs + tally.alone,
        "runs_alone": tally.alone,
        "rejected": tally.rejected,
        "raised": tally.raised,
        "died": tally.died,
        "children": tally.children,
        "nanos": parts,
        "nanos_all": bench.spent.all.as_nanos() as u64,
        "watched": tally.watched,
        "edges_swept": bench.swept,
        "edges_journalled": bench.journalled,
        "advice": advice(bench),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::spent::Spent;
    use crate::worker::Tally;

    /// A second in which the parts took so many milliseconds.
    fn bench(mutation: u64, batches: u64, harness: u64, map: u64) -> Bench {
        let ms = Duration::from_millis;
        let spent = Spent { all: ms(1000), mutation: ms(mutation), batches: ms(batches), ..Spent::default() };
        let tally =
            Tally { runs: 1000, harness_nanos: harness * 1_000_000, map_nanos: map * 1_000_000, ..Tally::default() };
        Bench { spent, tally, kept: 0, swept: 3_100_000, journalled: 0 }
    }

    #[test]
    fn parts_add_up_to_all() {
        let all = parts(&bench(100, 800, 300, 200));
        assert_eq!(all.iter().map(|(_, nanos)| nanos).sum::<u64>(), 1_000_000_000);
        assert_eq!(all[2], ("hand-over", 300_000_000));
        assert_eq!(all[7], ("rest", 100_000_000));
    }

    fn check(bench: Bench, says: &str) {
        let advice = advice(&bench);
        assert!(advice.iter().any(|text| text.contains(says)), "{advice:?}");
    }

    #[test]
    fn what_would_help_depends_on_where_the_time_goes() {
        check(bench(10, 980, 100, 800), "the sweep of 3,100,000 edges after each run is 80 % of the time");
        check(bench(10, 980, 970, 1), "97 % of the time is the harness's own, 970.0 µs a call");
        check(bench(300, 600, 300, 100), "nothing stands out");
        check(bench(100, 800, 100, 100), "hand-over is 60 % of the time");
        let mut dying = bench(100, 800, 100, 100);
        dying.tally.died = 20;
        check(dying, "20 inputs ended the child");
        let mut rejecting = bench(300, 600, 300, 100);
        rejecting.tally.rejected = 1000;
        check(rejecting, "rejects 100 % of inputs");
    }
}
