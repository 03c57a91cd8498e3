//! Which function, file and line an edge is: read from the library's own file.
//!
//! In the order of the data: a [`table`] of addresses, one an edge, as `pc-table` leaves it in the
//! file; [`names`] of addresses, from debug information; and the [`Library`] that joins both. The
//! process that counted may be gone, or run on another machine: a file is enough, when it is still
//! the build that was counted, and its identity tells. Knows nothing of processes and of hits.

mod code;
mod counted;
mod error;
mod functions;
mod names;
mod table;

use std::path::Path;

use hitmap_wire::identity::Identity;
use hitmap_wire::modules::PC_TABLE;

pub use error::PlacesError;
pub use functions::function_start;
pub use names::{Found, Named, Names, demangled};

use crate::snapshot::ModuleId;
use table::Table;

/// Where an edge is in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The function, demangled; empty when it has no name. An edge in inlined code belongs to the
    /// function that the source has it in; the entry of a function belongs to that function.
    pub function: String,
    /// The source file; of a package that `hitmap build` made, its path within the package. Empty
    /// when it is not known.
    pub file: String,
    /// The line, from 1 on; 0 when it is not known.
    pub line: u32,
    /// Whether it is where the function begins.
    pub entry: bool,
    /// Its address within the library's file.
    pub offset: u64,
}

/// An instrumented library's file, opened for its edges' places.
pub struct Library {
    table: Table,
    names: Option<Names>,
}

impl Library {
    /// Opens a library's file, whichever build it is. One without a table of addresses opens with
    /// no edges.
    ///
    /// # Errors
    /// [`PlacesError::Unreadable`], and [`PlacesError::Malformed`] for what is no ELF file or a
    /// damaged one.
    pub fn open(path: impl AsRef<Path>) -> Result<Library, PlacesError> {
        let path = path.as_ref();
        Ok(Library { table: Table::read(path)?, names: Names::open(path) })
    }

    /// Opens the file of a module that was counted, when it still is the same build.
    ///
    /// # Errors
    /// Those of [`Library::open`]; [`PlacesError::Changed`] for another build, and
    /// [`PlacesError::NoTable`] for a module without a table of addresses.
    pub fn of(module: &ModuleId) -> Result<Library, PlacesError> {
        let path = Path::new(&module.path);
        let table = Table::read(path)?;
        if table.identity != module.identity {
            return Err(PlacesError::Changed { path: path.to_owned(), wanted: module.identity, found: table.identity });
        }
        if module.kind & PC_TABLE == 0 || table.edges.len() != module.edges as usize {
            return Err(PlacesError::NoTable { path: path.to_owned() });
        }
        Ok(Library { table, names: Names::open(path) })
    }

    /// The library's name for itself, as a process that loads it sees it.
    pub fn identity(&self) -> Identity {
        self.table.identity
    }

    /// How many edges its table has.
    pub fn edges(&self) -> usize {
        self.table.edges.len()
    }

    /// Whether a function begins at an edge of the library.
    pub fn is_entry(&self, local: u32) -> bool {
        self.table.edges.get(local as usize).is_some_and(|edge| edge.entry)
    }

    /// All that the file says of where an edge is; `None` when there is no such edge.
    pub fn find(&self, local: u32) -> Option<Found> {
        let edge = self.table.edges.get(local as usize)?;
        Some(self.names.as_ref().map_or_else(Found::default, |names| names.find(edge.address)))
    }

    /// The place of an edge, by its number within the library; `None` when there is no such edge.
    /// What the file does not say is left empty.
    pub fn place(&self, local: u32) -> Option<Place> {
        let edge = self.table.edges.get(local as usize)?;
        let frames = self.names.as_ref().map_or_else(Vec::new, |names| names.at(edge.address));
        let frame = if edge.entry { frames.into_iter().last() } else { frames.into_iter().next() };
        let Named { function, file, line, .. } = frame.unwrap_or_default();
        Some(Place { function, file, line, entry: edge.entry, offset: edge.address })
    }
}
