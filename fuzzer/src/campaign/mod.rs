//! The campaign folder: what is kept, who writes it, and how a later session takes it up.
//!
//! One place owns the disk. [`manifest`] says what the campaign is, [`folder`] is one engine's part
//! in AFL++'s layout, [`names`] spells its file names, [`stats`] its statistics, [`keeper`] acts on
//! the engine's decisions and [`peers`] reads what other engines kept.

pub mod folder;
pub mod keeper;
pub mod manifest;
pub mod names;
pub mod peers;
pub mod stats;

use std::io::{self, Write};
use std::path::Path;

/// Writes a file so that its name shows the old content or the new one, never a part: a temporary
/// file beside it, synced, renamed.
///
/// # Errors
/// What the file system reports.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let making = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut file = std::fs::File::create(&making)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&making, path)
}

/// Seconds since 1970.
pub fn unix_time() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
