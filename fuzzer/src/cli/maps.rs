//! What `merge`, `diff` and `show` share: finding and reading a snapshot, and printing what is in it.
//!
//! Owns no decision about snapshots; those are [`hitmap_observers::snapshot`]'s.

use std::path::{Path, PathBuf};

use hitmap_observers::snapshot::{Conflict, ModuleId, Snapshot};

use crate::error::Failure;

/// The snapshot that `typed` names: the file itself, or the `coverage.hitmap` of a campaign folder.
///
/// # Errors
/// When `typed` is a folder without one.
pub fn file_of(typed: &Path) -> Result<PathBuf, Failure> {
    if !typed.is_dir() {
        return Ok(typed.to_owned());
    }
    let file = typed.join("coverage.hitmap");
    if file.exists() {
        return Ok(file);
    }
    Err(Failure::usage(format!(
        "{}: a folder without coverage.hitmap; name a campaign folder or a .hitmap file",
        typed.display()
    )))
}

/// Reads a snapshot file, or that of a campaign folder.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn load(typed: &Path) -> Result<Snapshot, Failure> {
    Snapshot::load(file_of(typed)?).map_err(|error| Failure::usage(error.to_string()))
}

/// One sentence a pair of builds that do not correspond.
pub fn tell(conflict: &Conflict, left: &Path, right: &Path) -> String {
    format!(
        "{}: build {} in {}, build {} in {}",
        printable(&conflict.name),
        conflict.left,
        left.display(),
        conflict.right,
        right.display()
    )
}

/// Hundredths of `edges`; 0 of none.
pub fn percent(hits: u64, edges: u64) -> f64 {
    if edges == 0 { 0.0 } else { hits as f64 * 100.0 / edges as f64 }
}

/// What people call a module: with its package, as many have a `_core.so`. A program has no name to the loader.
pub fn name(id: &ModuleId) -> String {
    if id.name.is_empty() { "(program)".to_owned() } else { printable(id.label()) }
}

/// Text from a file as it may go to a terminal: what would steer one is escaped.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Rows as lines: the first `numbers` columns end together, the others begin together. All rows have
/// as many cells as the first.
pub fn table<R: AsRef<[String]>>(rows: &[R], numbers: usize) -> String {
    let columns = rows.first().map_or(0, |row| row.as_ref().len());
    let width = |column: usize| rows.iter().map(|row| row.as_ref()[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.as_ref().iter().zip(&widths).enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            let cell = if at < numbers { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line.push_str(gap);
            line.push_str(&cell);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use hitmap_observers::snapshot::{Hit, Hits, Meta, ModuleMap};
    use hitmap_wire::identity::Identity;

    /// A snapshot of modules (name, identity, edges, edges that were hit once).
    pub fn snapshot(modules: &[(&str, u8, u32, &[u32])]) -> Snapshot {
        let modules = modules.iter().map(|(name, identity, edges, hits)| {
            let hits = hits.iter().map(|edge| Hit { edge: *edge, class: 1 }).collect();
            let id = ModuleId {
                identity: Identity::new(&[*identity; 20]),
                kind: 2,
                edges: *edges,
                name: (*name).into(),
                path: format!("/lib/{name}"),
                below: String::new(),
            };
            ModuleMap::new(id, Hits::new(hits).unwrap()).unwrap()
        });
        Snapshot::new(modules.collect(), Meta::default())
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["7", "1,000", "a"], ["10", "5", "long name"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows, 2), " 7  1,000  a\n10      5  long name\n");
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable("a\x1b[2Jé\n"), "a\\u{1b}[2Jé\\n");
    }

    #[test]
    fn a_campaign_folder_stands_for_its_coverage() {
        let folder = tempfile::tempdir().unwrap();
        assert!(file_of(folder.path()).unwrap_err().message.contains("without coverage.hitmap"));
        let file = folder.path().join("coverage.hitmap");
        std::fs::write(&file, "").unwrap();
        assert_eq!(file_of(folder.path()).unwrap(), file);
        assert_eq!(file_of(&file).unwrap(), file);
    }

    #[test]
    fn nothing_of_nothing_is_no_percentage() {
        assert_eq!([percent(0, 0), percent(1, 4), percent(4, 4)], [0.0, 25.0, 100.0]);
    }
}
