//! The campaign folder: what is kept, who writes it, and how a later session takes it up.
//!
//! One place owns the disk. [`manifest`] says what the campaign is, [`folder`] is one engine's part
//! in AFL++'s layout, [`names`] spells its file names, [`stats`] its statistics, [`health`] what
//! makes it worse than it could be, [`keeper`] acts on the engine's decisions and [`peers`] reads what other engines kept.

pub mod folder;
pub mod health;
pub mod keeper;
pub mod manifest;
pub mod names;
pub mod peers;
pub mod stats;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file so that its name shows the old content or the new one, never a part: a temporary
/// file beside it, synced, renamed.
///
/// # Errors
/// What the file system reports.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let making = path.with_file_name(making(&path.file_name().unwrap_or_default().to_string_lossy()));
    let mut file = std::fs::File::create(&making)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&making, path)
}

/// The name under which this process writes what will be called `name`.
pub fn making(name: &str) -> String {
    format!(".making-{}-{name}", std::process::id())
}

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
        for name in [".git", &making("x"), &format!(".making-{dead}-x"), &format!(".hitmap-{dead}-1.tmp")] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        sweep_temporaries(folder.path());
        let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".git", &making("x")]);
    }
}
