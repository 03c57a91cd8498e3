//! Snapshots on disk: saved whole or not at all, loaded with suspicion.
//!
//! Saving writes a temporary file in the same folder, syncs it, renames it and syncs the folder, so
//! whoever looks, and whatever is killed, finds the old file or the new one. What a killed save
//! leaves behind is called `.hitmap-<process>-<number>.tmp` and may be deleted. A name that is a
//! symbolic link is replaced, not followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{FileError, Malformed, Problem, Snapshot};
use crate::disk::{self, Opened};
use crate::frame::{FrameError, HEAD, Head};

/// The largest snapshot file, in bytes: half a billion hits.
pub const LARGEST: u64 = 1 << 30;

impl Snapshot {
    /// Writes it to `path`, replacing what was there.
    ///
    /// # Errors
    /// Names the file. What was there before is then still there.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), FileError> {
        let (path, bytes) = (path.as_ref(), self.encode());
        if bytes.len() as u64 > LARGEST {
            return Err(FileError::new(path, Problem::TooLarge { bytes: bytes.len() as u64, limit: LARGEST }));
        }
        replace(path, |file| file.write_all(&bytes)).map_err(FileError::system(path, "save it"))
    }

    /// Reads what [`Snapshot::save`] wrote.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Snapshot, FileError> {
        let path = path.as_ref();
        let (mut file, len) = open(path)?;
        let mut bytes = vec![0; len.min(HEAD as u64) as usize];
        let system = FileError::system(path, "read it");
        file.read_exact(&mut bytes).map_err(&system)?;
        // The head is judged before its size: someone's disk image is no hitmap file, whatever its size.
        let head = Head::read(&bytes).map_err(|error| FileError::new(path, Malformed::Frame(error)))?;
        if len > LARGEST {
            return Err(FileError::new(path, Problem::TooLarge { bytes: len, limit: LARGEST }));
        }
        if len < head.frame() {
            let torn = FrameError::Truncated { have: len, need: head.frame() };
            return Err(FileError::new(path, Malformed::Frame(torn)));
        }
        file.take(len - HEAD as u64).read_to_end(&mut bytes).map_err(&system)?;
        Snapshot::decode(&bytes).map_err(|error| FileError::new(path, error))
    }
}

/// Opens an ordinary file for reading; anything else is an error, and none of it blocks.
pub(super) fn open(path: &Path) -> Result<(File, u64), FileError> {
    match disk::look(path).map_err(FileError::system(path, "open it"))? {
        Opened::File(file, len) => Ok((file, len)),
        Opened::Else(what) => Err(FileError::new(path, Problem::NotAFile { what })),
    }
}

/// Replaces `path` by what `write` writes, at once or not at all.
fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let (temporary, mut file) = create_beside(folder)?;
    let done = write(&mut file).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    if done.is_err() {
        // The first error is the one to tell; a leftover is harmless.
        let _ = fs::remove_file(&temporary);
    }
    done.and_then(|()| File::open(folder)?.sync_all())
}

/// A new file under a name that nobody else has taken.
fn create_beside(folder: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".hitmap-{}-{number}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            // Left behind by a killed process with our number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|file| (path, file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_write_leaves_the_old_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.hitmap");
        fs::write(&path, "old").unwrap();
        let error = replace(&path, |file| {
            file.write_all(b"ne")?;
            assert_eq!(fs::read(&path).unwrap(), b"old", "half a file is never seen under the name");
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no leftovers");
    }

    #[test]
    fn a_folder_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let error = Snapshot::default().save(folder.path()).unwrap_err();
        assert_eq!(error.path, folder.path());
        assert!(folder.path().is_dir());
    }
}
