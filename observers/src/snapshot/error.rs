//! What can be wrong with a snapshot or a feature log, in sentences that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use hitmap_wire::identity::{Identity, LEN};

use crate::frame::FrameError;

/// Bytes, or parts, that do not make a snapshot or an entry of a feature log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The frame around it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame is sound, and what is in it is not what its kind promises.
    #[error("its content is not what its kind promises ({what}); it was not written by hitmap, so delete it")]
    Content {
        /// Where reading stopped.
        what: String,
    },
    /// Something follows the end.
    #[error("{bytes} bytes follow its end; it was not written by hitmap alone, so copy the file again")]
    Trailing {
        /// How many bytes follow.
        bytes: usize,
    },
    /// An identity that names nothing, or too long to be one.
    #[error("the identity of {name:?} has {len} bytes; one has 1 to {LEN}, so link it with --build-id")]
    Identity {
        /// The module.
        name: String,
        /// The length of what it has.
        len: usize,
    },
    /// An edge that its module does not have.
    #[error("edge {edge} of {name:?} does not exist: it has {edges} edges, counted from 0")]
    Edge {
        /// The module.
        name: String,
        /// The edge.
        edge: u32,
        /// How many it has.
        edges: u32,
    },
    /// Hits that do not rise.
    #[error("edge {edge} follows edge {before}; give each edge once, in rising order")]
    Order {
        /// The edge that is out of order.
        edge: u32,
        /// The one before it.
        before: u32,
    },
    /// A hit class that is none.
    #[error("edge {edge} has class {class}; a hit class is 1, 2, 4, 8, 16, 32, 64 or 128")]
    Class {
        /// The edge.
        edge: u32,
        /// Its class.
        class: u8,
    },
    /// The same module twice, or modules out of order in a file.
    #[error("module {name:?} ({identity}) is there twice or out of order; merge its hits into one")]
    Module {
        /// Its name.
        name: String,
        /// Its identity.
        identity: Identity,
    },
    /// An entry that refers to a module that the log has not introduced.
    #[error("an entry refers to module {number}, and its log has introduced {known}")]
    Unknown {
        /// The number.
        number: u32,
        /// How many there are.
        known: usize,
    },
}

impl From<postcard::Error> for Malformed {
    fn from(error: postcard::Error) -> Malformed {
        Malformed::Content { what: error.to_string() }
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// See [`FileError`].
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system refused.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// A directory, a pipe, a device or a socket.
    #[error("it is not an ordinary file but {what}; pass a .hitmap file")]
    NotAFile {
        /// What it is.
        what: &'static str,
    },
    /// Larger than any snapshot, or entry of a feature log.
    #[error(
        "it has {bytes} bytes in one piece and the limit is {limit}; it was not written by hitmap, so move it away"
    )]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// Its content.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The content of a feature log.
    #[error("at byte {at}: {error}")]
    At {
        /// Where the frame begins that is wrong.
        at: u64,
        /// What is wrong.
        error: Malformed,
    },
    /// A feature log with damage before sound entries.
    #[error("at byte {at}: {error}; sound entries follow, so this is no torn write: move the log away")]
    Damaged {
        /// Where the damage begins.
        at: u64,
        /// What it is.
        error: Malformed,
    },
    /// A feature log that became shorter than what was read of it.
    #[error("it was {read} bytes long and now has {now}; somebody replaced it, so read it from its beginning")]
    Shrunk {
        /// How much was read.
        read: u64,
        /// How much there is.
        now: u64,
    },
    /// A feature log that another process writes.
    #[error("another process is writing it; a worker's folder has one writer, so stop that one first")]
    Busy,
}

impl FileError {
    pub(crate) fn new(path: &Path, problem: impl Into<Problem>) -> FileError {
        FileError { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn system<'a>(path: &'a Path, what: &'static str) -> impl Fn(io::Error) -> FileError + 'a {
        move |error| FileError::new(path, Problem::System { what, error })
    }

    /// Whether there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(&self.problem, Problem::System { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}
