//! `hitmap show`: what a snapshot holds.

use std::path::PathBuf;

use hitmap_observers::snapshot::{ModuleMap, Snapshot};

use super::{functions, maps};
use crate::error::{Failure, exit};
use crate::launcher::screen::grouped;
use crate::print;

/// What the bits of a hit class mean, from class 1 to class 128.
const TIMES: [&str; 8] = ["1", "2", "3", "4-7", "8-15", "16-31", "32-127", "128+"];

/// What the user typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hitmap show out
  hitmap show out --functions | grep parse
  hitmap show a.hitmap --json

A campaign folder stands for its coverage.hitmap. Functions are named while the libraries that were
counted are still where they were.")]
pub struct Typed {
    /// A snapshot, or a campaign folder
    #[arg(value_name = "FILE|CAMPAIGN")]
    input: PathBuf,
    /// List all functions that were hit, not the 20 with the most edges hit
    #[arg(long)]
    functions: bool,
    /// Print one JSON object; with --functions, these too
    #[arg(long)]
    json: bool,
}

/// Reads and prints.
///
/// # Errors
/// With a message for the user.
pub fn run(typed: &Typed) -> Result<i32, Failure> {
    let file = maps::file_of(&typed.input)?;
    let snapshot = maps::load(&file)?;
    if typed.json {
        let mut object = json(&snapshot);
        object["file"] = serde_json::json!(file.to_string_lossy());
        if typed.functions {
            object["functions"] = functions::json(&snapshot);
        }
        print::line(object)?;
    } else {
        let named = functions::text(&snapshot, typed.functions);
        let gap = if named.is_empty() { "" } else { "\n" };
        let all = format!("{}: {}{gap}{named}", file.display(), text(&snapshot));
        print::line(all.trim_end())?;
    }
    Ok(exit::CLEAN)
}

fn text(snapshot: &Snapshot) -> String {
    let (hits, edges) = (snapshot.hits(), snapshot.total());
    let mut text = format!("{} of {} edges hit ({:.1} %)\n", grouped(hits), grouped(edges), maps::percent(hits, edges));
    let meta = &snapshot.meta;
    let mut say = |what: &str, value: &str| text.push_str(&format!("  {what:<11} {}\n", maps::printable(value)));
    if meta.created != 0 {
        say("created", &utc(meta.created));
    }
    if !meta.tool.is_empty() {
        say("by", &meta.tool);
    }
    for line in meta.harness.lines() {
        say("harness", line);
    }
    if meta.executions != 0 {
        say("executions", &grouped(meta.executions));
    }
    for (key, value) in &meta.extra {
        say(&maps::printable(key), value);
    }
    let mut rows = vec![["hits", "edges", "%", "module", "identity"].map(str::to_owned)];
    rows.extend(snapshot.modules().iter().map(|module| {
        let (hits, edges) = (module.hits().len() as u64, u64::from(module.id().edges));
        let percent = format!("{:.1}", maps::percent(hits, edges));
        [grouped(hits), grouped(edges), percent, maps::name(module.id()), module.id().identity.to_string()]
    }));
    let counts = snapshot.counts();
    let classes: Vec<[String; 2]> = std::iter::once(["edges".to_owned(), "hit this often in a run".to_owned()])
        .chain(counts.iter().zip(TIMES).map(|(count, times)| [grouped(*count), times.to_owned()]))
        .collect();
    format!("{text}\n{}\n{}", maps::table(&rows, 3), maps::table(&classes, 1))
}

fn json(snapshot: &Snapshot) -> serde_json::Value {
    let (hits, edges, meta) = (snapshot.hits(), snapshot.total(), &snapshot.meta);
    let modules = snapshot.modules().iter().map(|module| {
        let (id, hits) = (module.id(), module.hits().len() as u64);
        serde_json::json!({
            "name": id.name, "path": id.path, "identity": id.identity.to_string(), "kind": id.kind,
            "edges": id.edges, "hits": hits, "percent": maps::percent(hits, id.edges.into()),
            "classes": by_class(counts(module)),
        })
    });
    serde_json::json!({
        "hits": hits, "edges": edges, "percent": maps::percent(hits, edges),
        "modules": modules.collect::<Vec<_>>(),
        "classes": by_class(snapshot.counts()),
        "meta": {
            "created": meta.created, "tool": meta.tool, "harness": meta.harness,
            "executions": meta.executions, "extra": meta.extra,
        },
    })
}

fn counts(module: &ModuleMap) -> [u64; 8] {
    let mut counts = [0; 8];
    for hit in module.hits().iter() {
        counts[hit.class.ilog2() as usize] += 1;
    }
    counts
}

fn by_class(counts: [u64; 8]) -> serde_json::Map<String, serde_json::Value> {
    counts.iter().enumerate().map(|(at, count)| ((1u32 << at).to_string(), (*count).into())).collect()
}

/// Seconds since 1970 as `2026-01-31 12:00:00 UTC`; the calendar repeats every 400 years of 146,097
/// days, counted from the first of March of the year 0.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March on have 31, 30, 31, 30, 31 days, over and over: 153 in five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC", era * 400 + year + next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::maps::tests::snapshot;

    #[test]
    fn days_are_those_of_the_calendar() {
        let known = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ];
        known.iter().for_each(|(seconds, text)| assert_eq!(utc(*seconds), *text));
        let _ = utc(u64::MAX);
    }

    #[test]
    fn modules_metadata_and_classes_are_shown() {
        let mut one = snapshot(&[("a.so", 1, 10, &[1, 2]), ("", 2, 0, &[])]);
        one.meta.harness = "a.py\x1b\nb.py".into();
        one.meta.executions = 1234;
        let shown = text(&one);
        for part in ["2 of 10 edges hit (20.0 %)", "a.py\\u{1b}", "b.py", "1,234", "20.0  a.so", "(program)"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(shown.contains(&"01".repeat(20)));
        let object = json(&one);
        assert_eq!(object["classes"]["1"], 2);
        assert_eq!(object["modules"][0]["percent"], 20.0);
        assert_eq!(object["modules"][1]["percent"], 0.0);
        assert_eq!(object["meta"]["executions"], 1234);
    }
}
