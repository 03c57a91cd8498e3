//! Why edges have no places.

use std::io;
use std::path::PathBuf;

use hitmap_wire::identity::Identity;

/// Why a library's edges cannot be placed. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// The file is gone, or may not be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is not a 64-bit little-endian ELF file, or a damaged one.
    #[error("{}: not a library that can be read: {cause}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Another build stands there now.
    #[error("{}: the file is build {found}, but build {wanted} was counted", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The build that was counted.
        wanted: Identity,
        /// The build that is there.
        found: Identity,
    },
    /// It brings no edges, or edges that are counted in two ways.
    #[error("{}: it has no coverage of one kind; name a library that was built by hitmap build, or with -fsanitize-coverage=trace-pc-guard", path.display())]
    NotCounted {
        /// The file.
        path: PathBuf,
    },
    /// Its edges have no addresses.
    #[error("{}: its edges have no addresses; compile all of it with pc-table among -fsanitize-coverage=", path.display())]
    NoTable {
        /// The file.
        path: PathBuf,
    },
}
