//! The one way to read a file from disk: an ordinary file, never more of it than the caller can use.
//!
//! A path from a command line, or from a folder that somebody else made, may name a pipe that nobody
//! writes to, a device without an end, or a file of gigabytes. Opening waits for nothing here, and
//! reading has a bound. Errors name the file. `/proc` is read elsewhere: the kernel writes it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What the system, or this module, said of a path.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct AtPath {
    /// The path.
    pub path: PathBuf,
    /// What was said.
    pub source: io::Error,
}

/// Adds the path to an error, which keeps its kind; [`code_of`] still finds its number.
pub fn at(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    move |source| {
        // One path is enough, and the inner one is the more exact.
        if source.get_ref().is_some_and(|inner| inner.is::<AtPath>()) {
            return source;
        }
        io::Error::new(source.kind(), AtPath { path: path.to_owned(), source })
    }
}

/// The number of an error of the system, also of one that [`at`] has named.
pub fn code_of(error: &io::Error) -> Option<i32> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<AtPath>());
    error.raw_os_error().or_else(|| inner.and_then(|inner| inner.source.raw_os_error()))
}

/// What a path names, if that is no ordinary file.
pub fn other_than_a_file(about: &Metadata) -> Option<&'static str> {
    match about.file_type() {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a folder"),
        kind if kind.is_fifo() => Some("a pipe"),
        kind if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

/// What opening found.
#[derive(Debug)]
pub enum Opened {
    /// An ordinary file, and its length.
    File(File, u64),
    /// A folder, a pipe, a socket or a device.
    Else(&'static str),
}

/// Opens whatever it is for reading, without waiting, and says what it is. A device is not opened at
/// all: opening alone may do something to it.
///
/// # Errors
/// What the system reports.
pub fn look(path: &Path) -> io::Result<Opened> {
    if let Some(what) = other_than_a_file(&std::fs::metadata(path)?) {
        return Ok(Opened::Else(what));
    }
    // Another thing may have taken its place since.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let about = file.metadata()?;
    Ok(other_than_a_file(&about).map_or(Opened::File(file, about.len()), Opened::Else))
}

/// Opens an ordinary file for reading, and says how long it is.
///
/// # Errors
/// Names the path: what the system reports, or what it is instead of a file.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    match look(path).map_err(at(path))? {
        Opened::File(file, len) => Ok((file, len)),
        Opened::Else(what) => Err(at(path)(not_a_file(what))),
    }
}

/// The error for something that is no file.
pub fn not_a_file(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is not a file but {what}"))
}

/// Reads an ordinary file of `most` bytes or less.
///
/// # Errors
/// Names the path: what the system reports, what it is instead of a file, or that it is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (bytes, len) = read_start(path, most)?;
    if len > most {
        let text = format!("it has {len} bytes, and {most} is the most that is read");
        return Err(at(path)(io::Error::new(io::ErrorKind::FileTooLarge, text)));
    }
    Ok(bytes)
}

/// [`read`], as text.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let text = |bytes| String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"));
    read(path, most).and_then(|bytes| text(bytes).map_err(at(path)))
}

/// Reads the first `most` bytes of an ordinary file, and says how long all of it is.
///
/// # Errors
/// Names the path: what the system reports, or what it is instead of a file.
pub fn read_start(path: &Path, most: u64) -> io::Result<(Vec<u8>, u64)> {
    let (file, len) = open(path)?;
    let mut bytes = Vec::with_capacity(len.min(most).min(1 << 24) as usize);
    // One byte more than is wanted: a file that grows, or does not know its length, is larger than it says.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(at(path))?;
    let len = len.max(bytes.len() as u64);
    bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok((bytes, len))
}

/// Reads the last `most` bytes of an ordinary file.
///
/// # Errors
/// Names the path: what the system reports, or what it is instead of a file.
pub fn read_end(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (mut file, len) = open(path)?;
    let mut bytes = Vec::new();
    let read =
        file.seek(SeekFrom::Start(len.saturating_sub(most))).and_then(|_| file.take(most).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    /// A path of each kind that is no file, with the word for it.
    fn others(folder: &Path) -> Vec<(PathBuf, &'static str)> {
        let fifo = folder.join("fifo");
        let name = std::ffi::CString::new(fifo.as_os_str().as_bytes()).unwrap();
        // SAFETY: a C string.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let socket = folder.join("socket");
        std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let zero = folder.join("zero");
        std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
        vec![(folder.to_owned(), "a folder"), (fifo, "a pipe"), (socket, "a socket"), (zero, "a device")]
    }

    #[test]
    fn what_is_no_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        for (path, what) in others(folder.path()) {
            let said = read(&path, 10).unwrap_err().to_string();
            assert_eq!(said, format!("{}: it is not a file but {what}", path.display()));
            assert!(read_start(&path, 10).is_err() && read_text(&path, 10).is_err());
        }
        let missing = read(&folder.path().join("missing"), 10).unwrap_err();
        assert_eq!((missing.kind(), code_of(&missing)), (io::ErrorKind::NotFound, Some(libc::ENOENT)));
        assert!(missing.to_string().contains("missing: No such file"), "{missing}");
    }

    #[test]
    fn no_more_is_read_than_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"0123456789");
        assert!(read(&path, 9).unwrap_err().to_string().contains("a: it has 10 bytes, and 9 is the most"));
        assert_eq!(read_start(&path, 4).unwrap(), (b"0123".to_vec(), 10));
        assert_eq!(
            (read_end(&path, 4).unwrap(), read_end(&path, 99).unwrap()),
            (b"6789".to_vec(), b"0123456789".to_vec())
        );
        // A hole of a terabyte costs nothing on disk.
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read_start(&path, 4).unwrap(), (b"0123".to_vec(), 1 << 40));
        assert!(read(&path, 1 << 20).is_err());
    }
}
