//! The campaign folder: what is kept, who writes it, and how a later session takes it up.
//!
//! One place owns the disk. [`manifest`] says what the campaign is, [`folder`] is one engine's part
//! in AFL++'s layout, [`names`] spells its file names, [`stats`] its statistics, [`health`] what
//! makes it worse than it could be, [`keeper`] acts on the engine's decisions and [`peers`] reads what other engines kept.

pub mod archive;
pub mod folder;
pub mod health;
pub mod keeper;
pub mod manifest;
pub mod names;
pub mod peers;
pub mod stats;

use std::io;
use std::path::{Path, PathBuf};

/// Removes what killed processes were just writing into `folder`. What a living one writes stays.
pub fn sweep_temporaries(folder: &Path) {
    for path in left_overs(folder) {
        // What cannot be removed does no harm: nothing reads these names.
        let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}

/// What killed processes were just writing into `folder`.
pub fn left_overs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| is_left_over(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

/// `.making-PID-…` is ours, `.hitmap-PID-….tmp` a snapshot's.
fn is_left_over(name: &str) -> bool {
    let rest = name.strip_prefix(".making-").or_else(|| name.strip_prefix(".hitmap-"));
    let writer: Option<i32> = rest.and_then(|rest| rest.split('-').next()?.parse().ok());
    // SAFETY: signal 0 only asks whether the process is there.
    let is_dead =
        |pid| unsafe { libc::kill(pid, 0) } < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
    writer.is_some_and(|pid| pid > 0 && is_dead(pid))
}

/// Executions and entries of the engines of earlier sessions that one with `workers` engines does not start.
pub fn idle(out: &Path, workers: usize) -> (u64, usize) {
    let names = std::fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_idle = |name: &str| name.strip_prefix('w').and_then(|n| n.parse().ok()).is_some_and(|n: usize| n >= workers);
    let names = names.filter_map(|name| name.into_string().ok()).filter(|name| is_idle(name));
    let (mut execs, mut corpus) = (0, 0);
    for folder in names.map(|name| out.join(name)) {
        let queue = folder::queue_names(&folder).unwrap_or_default();
        let queue: Vec<&str> = queue.iter().map(String::as_str).collect();
        execs += stats::Stats::open(&folder, &queue).0.execs;
        corpus += queue.len();
    }
    (execs, corpus)
}

/// Seconds since 1970.
pub fn unix_time() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dead_processes_left_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let ours = crate::disk::making_prefix() + "x";
        for name in [".git", &ours, &format!(".making-{dead}-x"), &format!(".hitmap-{dead}-1.tmp")] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        sweep_temporaries(folder.path());
        let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".git", &ours]);
    }
}
