//! `fuzzer_stats` and `plot_data`, key by key as AFL++ 4 writes them, so that afl-whatsup and afl-plot
//! read a campaign. Not LibAFL's `AflStatsStage`: it misspells `cycles_wo_finds`, which afl-whatsup
//! sources as a shell variable, and writes no `fuzzer_setup`, by which afl-whatsup finds an instance.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use super::unix_time;
use crate::disk;
use crate::worker::Tally;
use crate::worker::growth::Growth;

/// Counters of one engine, over all of its sessions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Seconds since 1970 of the first session.
    pub start_time: u64,
    /// Seconds of all sessions.
    pub run_time: f64,
    /// Executions.
    pub execs: u64,
    /// Executions a second over the last interval.
    pub execs_per_sec: f64,
    /// Times the queue was walked.
    pub cycles: u64,
    /// Times the queue was walked since the last entry.
    pub cycles_wo_finds: u64,
    /// Entries in the queue.
    pub corpus: usize,
    /// Favoured ones among them.
    pub favoured: usize,
    /// Found by this engine.
    pub corpus_found: usize,
    /// Taken over from peers.
    pub corpus_imported: usize,
    /// Generations from a seed.
    pub max_depth: usize,
    /// The entry that is mutated now.
    pub cur_item: usize,
    /// Favoured entries that wait, and all that do.
    pub pending: (usize, usize),
    /// Percent of edges that behave.
    pub stability: f64,
    /// Edges hit.
    pub edges: u64,
    /// Edges there are.
    pub total_edges: u64,
    /// Edges that were flagged but did not come back.
    pub unstable_edges: usize,
    /// Entries that did not touch in a fresh child what they did when they were kept.
    pub variable: usize,
    /// Files in `crashes/`.
    pub crashes: usize,
    /// Files in `hangs/`.
    pub hangs: usize,
    /// Seconds since 1970 of the last entry, crash and hang; 0 for never.
    pub last: (u64, u64, u64),
    /// Executions at the last crash.
    pub execs_at_crash: u64,
    /// The time limit, in milliseconds.
    pub timeout_ms: u64,
    /// The slowest entry, in milliseconds.
    pub slowest_ms: u64,
    /// Tokens in use.
    pub tokens: usize,
    /// The share of this session's time that findings took, nearly all of it known ones.
    pub known_bugs: f64,
    /// What the worker has done in this session.
    pub tally: Tally,
    /// How the memory of a child grows.
    pub growth: Option<Growth>,
}

impl Stats {
    /// The text of `fuzzer_stats`.
    pub fn to_text(&self, harness: &str, command_line: &str) -> String {
        let mut text = String::new();
        let mut put = |key: &str, value: String| {
            let _ = writeln!(text, "{key:<18}: {value}");
        };
        let run_time = self.run_time as u64;
        put("start_time", self.start_time.to_string());
        put("last_update", unix_time().to_string());
        put("run_time", run_time.to_string());
        put("fuzzer_pid", std::process::id().to_string());
        put("cycles_done", self.cycles.to_string());
        put("cycles_wo_finds", self.cycles_wo_finds.to_string());
        put("time_wo_finds", unix_time().saturating_sub(self.last.0.max(self.start_time)).to_string());
        put("fuzz_time", run_time.to_string());
        put("calibration_time", "0".into());
        put("cmplog_time", "0".into());
        put("sync_time", "0".into());
        put("trim_time", "0".into());
        put("execs_done", self.execs.to_string());
        put("execs_per_sec", format!("{:.2}", self.execs as f64 / self.run_time.max(0.001)));
        put("execs_ps_last_min", format!("{:.2}", self.execs_per_sec));
        put("corpus_count", self.corpus.to_string());
        put("corpus_favored", self.favoured.to_string());
        put("corpus_found", self.corpus_found.to_string());
        put("corpus_imported", self.corpus_imported.to_string());
        put("corpus_variable", self.variable.to_string());
        put("max_depth", self.max_depth.to_string());
        put("cur_item", self.cur_item.to_string());
        put("pending_favs", self.pending.0.to_string());
        put("pending_total", self.pending.1.to_string());
        put("stability", format!("{:.2}%", self.stability));
        put("bitmap_cvg", format!("{:.2}%", self.percent()));
        put("saved_crashes", self.crashes.to_string());
        put("saved_hangs", self.hangs.to_string());
        put("last_find", self.last.0.to_string());
        put("last_crash", self.last.1.to_string());
        put("last_hang", self.last.2.to_string());
        put("execs_since_crash", self.execs.saturating_sub(self.execs_at_crash).to_string());
        put("exec_timeout", self.timeout_ms.to_string());
        put("slowest_exec_ms", self.slowest_ms.to_string());
        put("peak_rss_mb", peak_rss_mb().to_string());
        put("cpu_affinity", "-1".into());
        put("edges_found", self.edges.to_string());
        put("total_edges", self.total_edges.to_string());
        put("var_byte_count", self.unstable_edges.to_string());
        put("havoc_expansion", "0".into());
        put("auto_dict_entries", self.tokens.to_string());
        put("testcache_size", "0".into());
        put("testcache_count", "0".into());
        put("testcache_evict", "0".into());
        put("afl_banner", banner(harness));
        put("afl_version", format!("hitmap-{}", env!("CARGO_PKG_VERSION")));
        put("target_mode", "shmem_testcase persistent".into());
        put("runs_alone", self.tally.alone.to_string());
        put("runs_rejected", self.tally.rejected.to_string());
        put("runs_raised", self.tally.raised.to_string());
        put("runs_died", self.tally.died.to_string());
        put("runs_cut", self.tally.cut.to_string());
        put("children", self.tally.children.to_string());
        put("time_known_bugs", format!("{:.2}%", 100.0 * self.known_bugs));
        if let Some(growth) = &self.growth {
            put("growth_per_run", format!("{:.0}", growth.resident));
            put("growth_heap", format!("{:.0}", growth.heap));
            put("growth_py_blocks", format!("{:.3}", growth.blocks));
        }
        put("command_line", command_line.replace('\n', " "));
        // afl-whatsup passes over what it does not know.
        let sum = checksum(&text);
        let _ = writeln!(text, "{CHECKSUM:<18}: {sum}");
        text
    }

    /// The counters of earlier sessions, from an engine's folder; `queue` are the names of its entries.
    /// A `fuzzer_stats` that is gone or damaged costs what `plot_data` does not have; that is said.
    pub fn open(folder: &Path, queue: &[&str]) -> (Stats, Option<String>) {
        let path = folder.join("fuzzer_stats");
        let why = match disk::read(&path, disk::LONGEST_TEXT) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                if is_whole(&text) {
                    return (Stats::read(&text), None);
                }
                format!("{}: it is not as it was written", path.display())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && queue.is_empty() => return Default::default(),
            Err(error) => error.to_string(),
        };
        let plot = disk::read_end(&folder.join("plot_data"), 1 << 16).unwrap_or_default();
        let mut stats = Stats::of_plot(&String::from_utf8_lossy(&plot)).unwrap_or_default();
        stats.corpus_imported = queue.iter().filter(|name| name.contains(",sync:")).count();
        stats.corpus_found = queue.iter().filter(|name| name.contains(",op:")).count();
        (stats, Some(format!("{why}; the counters go on from the last line of plot_data")))
    }

    /// The counters in the last line of `plot_data`.
    fn of_plot(text: &str) -> Option<Stats> {
        let number = |field: &str| field.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        text.lines().rev().filter(|line| !line.starts_with('#')).find_map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [time, cycles, .., depth, _, execs, _] = fields[..] else { return None };
            Some(Stats {
                run_time: number(time)?,
                cycles: number(cycles)? as u64,
                max_depth: number(depth)? as usize,
                execs: number(execs)? as u64,
                execs_at_crash: number(execs)? as u64,
                ..Stats::default()
            })
        })
    }

    /// Takes up the counters of an earlier session; keys that are missing or make no sense are left.
    pub fn read(text: &str) -> Stats {
        let value = |key: &str| {
            text.lines().find_map(|line| line.split_once(':').filter(|(k, _)| k.trim() == key)).map(|(_, v)| v.trim())
        };
        let number = |key: &str| value(key).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        let execs = number("execs_done");
        Stats {
            start_time: number("start_time"),
            run_time: number("run_time") as f64,
            execs,
            cycles: number("cycles_done"),
            corpus_found: number("corpus_found") as usize,
            corpus_imported: number("corpus_imported") as usize,
            max_depth: number("max_depth") as usize,
            last: (number("last_find"), number("last_crash"), number("last_hang")),
            execs_at_crash: execs.saturating_sub(number("execs_since_crash")),
            slowest_ms: number("slowest_exec_ms"),
            ..Stats::default()
        }
    }

    fn percent(&self) -> f64 {
        100.0 * self.edges as f64 / (self.total_edges.max(1)) as f64
    }

    /// Replaces `fuzzer_stats` in `folder` and adds a line to `plot_data`.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn write(&self, folder: &Path, harness: &str, command_line: &str) -> io::Result<()> {
        disk::replace(&folder.join("fuzzer_stats"), self.to_text(harness, command_line).as_bytes())?;
        let path = folder.join("plot_data");
        let mut plot = disk::append(&path)?;
        if plot.metadata()?.len() == 0 {
            writeln!(
                plot,
                "# relative_time, cycles_done, cur_item, corpus_count, pending_total, pending_favs, map_size, \
                 saved_crashes, saved_hangs, max_depth, execs_per_sec, total_execs, edges_found"
            )?;
        }
        writeln!(
            plot,
            "{}, {}, {}, {}, {}, {}, {:.2}%, {}, {}, {}, {:.2}, {}, {}",
            self.run_time as u64,
            self.cycles,
            self.cur_item,
            self.corpus,
            self.pending.1,
            self.pending.0,
            self.percent(),
            self.crashes,
            self.hangs,
            self.max_depth,
            self.execs_per_sec,
            self.execs,
            self.edges
        )
    }
}

/// The key of the last line of `fuzzer_stats`: a hash of the lines before it.
const CHECKSUM: &str = "checksum";

fn checksum(text: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// Whether a `fuzzer_stats` is as it was written. Earlier versions wrote no hash.
fn is_whole(text: &str) -> bool {
    let last = text.rfind(CHECKSUM).filter(|at| *at == 0 || text[..*at].ends_with('\n'));
    match last {
        Some(at) => text[at..].split_once(": ").is_some_and(|(_, sum)| sum.trim_end() == checksum(&text[..at])),
        None => text.contains("execs_done") && text.contains("command_line"),
    }
}

fn banner(harness: &str) -> String {
    harness.rsplit('/').next().unwrap_or(harness).chars().filter(|c| !c.is_whitespace()).collect()
}

fn peak_rss_mb() -> u64 {
    // SAFETY: `usage` is plain data and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    usage.ru_maxrss.max(0) as u64 / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_taken_up() {
        let stats =
            Stats { start_time: 5, run_time: 60.9, execs: 1000, cycles: 3, execs_at_crash: 900, ..Stats::default() };
        let back = Stats::read(&stats.to_text("/x/h.py", "hitmap fuzz"));
        assert_eq!(
            (back.start_time, back.run_time, back.execs, back.cycles, back.execs_at_crash),
            (5, 60.0, 1000, 3, 900)
        );
    }

    #[test]
    fn counters_that_are_damaged_go_on_from_the_plot() {
        let folder = tempfile::tempdir().unwrap();
        let stats = Stats { run_time: 60.0, execs: 1000, cycles: 3, max_depth: 7, ..Stats::default() };
        assert_eq!(Stats::open(folder.path(), &[]), (Stats::default(), None));
        stats.write(folder.path(), "/x/h.py", "hitmap fuzz").unwrap();
        let queue = ["id:000000,orig:a", "id:000001,src:000000,op:havoc", "id:000002,sync:w1,src:000000"];
        let (back, note) = Stats::open(folder.path(), &queue);
        assert_eq!((back.execs, note), (1000, None));
        let path = folder.path().join("fuzzer_stats");
        let text = std::fs::read_to_string(&path).unwrap();
        let flipped = text.replace("execs_done        : 1000", "execs_done        : 9000");
        assert_ne!(text, flipped);
        for damaged in ["", &text[..300], &flipped, &text.replace("checksum", "chocksum")[..300]] {
            std::fs::write(&path, damaged).unwrap();
            let (back, note) = Stats::open(folder.path(), &queue);
            assert_eq!((back.execs, back.run_time, back.cycles, back.max_depth), (1000, 60.0, 3, 7), "{damaged}");
            assert_eq!((back.corpus_found, back.corpus_imported), (1, 1));
            assert!(note.unwrap().contains("fuzzer_stats: it is not as it was written; the counters go on"));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(Stats::open(folder.path(), &queue).1.unwrap().contains("No such file"));
        let earlier = text.split("checksum").next().unwrap();
        std::fs::write(&path, earlier).unwrap();
        assert_eq!(Stats::open(folder.path(), &queue).1, None);
    }

    #[test]
    fn keys_are_padded_as_afl_pads_them() {
        let text = Stats::default().to_text("/x/h.py", "c");
        assert!(text.lines().all(|line| line.as_bytes()[18] == b':'), "{text}");
        assert!(text.contains("cycles_wo_finds   : 0\n"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            Stats::read(&text);
        }
    }
}
