//! Which module a process would count for a library's file: for maps that were saved without a name.
//!
//! Owns the reading of the sections that coverage leaves in a file. Knows nothing of places.

use std::path::Path;

use hitmap_wire::modules::{COUNTERS, FLAGS, GUARDS, IN_PLACE, PC_TABLE};
use hitmap_wire::region::FLAGS_IN_PAGE;
use object::{LittleEndian, Object, ObjectSection, ReadRef, read::elf::ElfFile64};

use super::PlacesError;
use super::table::{identity, with_file};
use crate::snapshot::{ModuleId, below_root};

/// Counters that hitmap's linker script gave pages of their own begin at one.
const PAGE: u64 = 4096;

impl ModuleId {
    /// The module that a process counts when it loads this file.
    ///
    /// # Errors
    /// [`PlacesError::Unreadable`] and [`PlacesError::Malformed`]; [`PlacesError::NotCounted`] for a
    /// file without coverage, and for one whose coverage is of two kinds.
    pub fn of_file(path: impl AsRef<Path>) -> Result<ModuleId, PlacesError> {
        let path = path.as_ref();
        let found = with_file(path, |file, data| {
            let identity = identity(file, data).ok_or("a segment is cut off")?;
            Ok(kind_and_edges(file).map(|(kind, edges)| (identity, kind, edges)))
        })?;
        let (identity, kind, edges) = found.ok_or_else(|| PlacesError::NotCounted { path: path.to_owned() })?;
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = full.to_string_lossy().into_owned();
        let below = below_root(&path, &[] as &[&str]);
        Ok(ModuleId { identity, kind, edges, name, path, below })
    }
}

fn kind_and_edges<'data, R: ReadRef<'data>>(file: &ElfFile64<'data, LittleEndian, R>) -> Option<(u32, u32)> {
    // The linker script leaves empty sections where there are no counters.
    let section = |name| file.section_by_name(name).filter(|section| section.size() != 0);
    let size = |name| section(name).map_or(0, |section| section.size());
    let (counters, flags) = (section("__sancov_cntrs"), section("__sancov_bools"));
    let (guards, table) = (size("__sancov_guards") / 4, size("__sancov_pcs") / 16);
    let (kind, edges) = match (&counters, &flags, guards) {
        (None, None, 1..) => (GUARDS, guards),
        // The sections are padded; the table has no padding.
        (Some(_), None, 0) => (COUNTERS, table),
        (None, Some(_), 0) => (FLAGS, table),
        (Some(_), Some(_), 0) => (COUNTERS | FLAGS, table),
        _ => return None,
    };
    let begins_at = |section: &_| <_ as ObjectSection>::address(section) % PAGE;
    let in_place = counters.as_ref().is_some_and(|section| begins_at(section) != 0)
        || flags.as_ref().is_some_and(|section| begins_at(section) != FLAGS_IN_PAGE as u64);
    let kind = kind | if table == edges { PC_TABLE } else { 0 } | if in_place { IN_PLACE } else { 0 };
    Some((kind, u32::try_from(edges).ok().filter(|edges| *edges != 0)?))
}
