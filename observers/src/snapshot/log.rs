//! Feature logs on disk: one writer appends whole frames, any number of readers follow.
//!
//! A frame that is not all there yet is nobody's business: readers leave it for later, and the
//! writer cuts it off when it resumes. Damage that is followed by sound frames is neither, and is
//! told rather than cut, because what is behind it would be lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::file::{LARGEST, open};
use super::record::{encode_module, take};
use super::{FeatureRecord, FileError, Malformed, ModuleId, Problem};
use crate::frame::{self, FrameError, HEAD, Head};

/// Follows a log that may still be growing.
#[derive(Debug)]
pub struct FeatureReader {
    path: PathBuf,
    file: File,
    offset: u64,
    modules: Vec<ModuleId>,
}

impl FeatureReader {
    /// Opens a log at its beginning.
    ///
    /// # Errors
    /// Names the file; [`FileError::is_not_found`] when there is none yet.
    pub fn open(path: impl AsRef<Path>) -> Result<FeatureReader, FileError> {
        let (file, _) = open(path.as_ref())?;
        Ok(FeatureReader { path: path.as_ref().to_owned(), file, offset: 0, modules: Vec::new() })
    }

    /// Goes on where an earlier reader stopped, at its [`FeatureReader::offset`]. Entries before it
    /// are passed over without reading them; modules are read, because later entries refer to them.
    ///
    /// # Errors
    /// Names the file; [`Problem::Shrunk`] when no frame begins at `offset`.
    pub fn open_at(path: impl AsRef<Path>, offset: u64) -> Result<FeatureReader, FileError> {
        let mut reader = FeatureReader::open(path)?;
        while reader.offset < offset {
            let Some(head) = reader.head()? else { break };
            match head.kind {
                frame::MODULE => drop(reader.frame(head)?),
                _ => reader.offset += head.frame(),
            }
        }
        if reader.offset != offset {
            let now = reader.len()?;
            return Err(reader.error(Problem::Shrunk { read: offset, now }));
        }
        Ok(reader)
    }

    /// Where the next frame begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The modules that were introduced so far, by their numbers.
    pub fn modules(&self) -> &[ModuleId] {
        &self.modules
    }

    /// The next entry that is whole; `None` when there is none yet, and asking later may give one.
    ///
    /// # Errors
    /// Names the file and the place. The reader stays where it is.
    pub fn next_record(&mut self) -> Result<Option<FeatureRecord>, FileError> {
        while let Some(head) = self.head()? {
            if let Some(record) = self.frame(head)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The head of the next frame if that frame is all there.
    fn head(&self) -> Result<Option<Head>, FileError> {
        let len = self.len()?;
        if len < self.offset {
            return Err(self.error(Problem::Shrunk { read: self.offset, now: len }));
        }
        let left = len - self.offset;
        match Head::read(&self.bytes(left.min(HEAD as u64))?) {
            Ok(head) if left < head.frame() => Ok(None),
            // A file with a hole in it can be as long as a forged head says.
            Ok(head) if head.frame() > LARGEST => Err(self.too_large(head.frame())),
            Ok(head) => Ok(Some(head)),
            Err(FrameError::Empty | FrameError::Truncated { .. }) => Ok(None),
            Err(error) => Err(self.malformed(error.into())),
        }
    }

    /// Reads the frame that `head` begins, and moves behind it.
    fn frame(&mut self, head: Head) -> Result<Option<FeatureRecord>, FileError> {
        let bytes = self.bytes(head.frame())?;
        let taken = frame::decode_any(&bytes).map_err(Malformed::from);
        let taken = taken.and_then(|(kind, payload, _)| take(kind, payload, &mut self.modules));
        let taken = taken.map_err(|error| self.malformed(error))?;
        self.offset += head.frame();
        Ok(taken)
    }

    fn bytes(&self, len: u64) -> Result<Vec<u8>, FileError> {
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, self.offset).map_err(FileError::system(&self.path, "read it"))?;
        Ok(bytes)
    }

    fn len(&self) -> Result<u64, FileError> {
        Ok(self.file.metadata().map_err(FileError::system(&self.path, "read it"))?.len())
    }

    fn too_large(&self, bytes: u64) -> FileError {
        self.error(Problem::TooLarge { bytes, limit: LARGEST })
    }

    fn malformed(&self, error: Malformed) -> FileError {
        self.error(Problem::At { at: self.offset, error })
    }

    fn error(&self, problem: Problem) -> FileError {
        FileError::new(&self.path, problem)
    }
}

/// What resuming found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Bytes of whole frames that stay.
    pub kept: u64,
    /// Bytes of a torn end that were cut off.
    pub dropped: u64,
}

/// The one writer of a log.
#[derive(Debug)]
pub struct FeatureLog {
    path: PathBuf,
    file: File,
    len: u64,
    torn: bool,
    modules: Vec<ModuleId>,
}

impl FeatureLog {
    /// Opens the log for appending, and begins it when there is none. Every entry that is there is
    /// handed to `visit`, with the modules that it refers to; a torn end is cut off.
    ///
    /// # Errors
    /// Names the file. [`Problem::Busy`] when it has a writer, [`Problem::Damaged`] when sound frames
    /// follow damaged ones. Nothing is cut off then.
    pub fn resume(
        path: impl AsRef<Path>,
        mut visit: impl FnMut(&[ModuleId], FeatureRecord),
    ) -> Result<(FeatureLog, Repair), FileError> {
        let path = path.as_ref();
        let system = FileError::system(path, "open it for appending");
        match File::create_new(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(system(error)),
            _ => drop(open(path)?),
        }
        let file = OpenOptions::new().append(true).open(path).map_err(&system)?;
        // Some file systems have no locks; then one writer a folder is only a promise.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(FileError::new(path, Problem::Busy));
        }
        let mut reader = FeatureReader::open(path)?;
        loop {
            match reader.next_record() {
                Ok(Some(record)) => visit(&reader.modules, record),
                Ok(None) => break,
                Err(error) => match error.problem {
                    Problem::At { error, at } if is_tearing(&error) && at > 0 => {
                        reader.refuse_sound_frames(error)?;
                        break;
                    }
                    _ => return Err(error),
                },
            }
        }
        let repair = Repair { kept: reader.offset, dropped: reader.len()? - reader.offset };
        let torn = repair.dropped != 0;
        let mut log = FeatureLog { path: path.to_owned(), file, len: reader.offset, torn, modules: reader.modules };
        log.cut()?;
        Ok((log, repair))
    }

    /// The number of a module in this log; introduces it when it has none.
    ///
    /// # Errors
    /// Names the file. The log is then as it was.
    pub fn module(&mut self, id: &ModuleId) -> Result<u32, FileError> {
        if let Some(at) = self.modules.iter().position(|known| known.key() == id.key()) {
            return Ok(at as u32);
        }
        if id.identity.is_empty() {
            return Err(FileError::new(&self.path, Malformed::Identity { name: id.name.clone(), len: 0 }));
        }
        self.write(&encode_module(id))?;
        self.modules.push(id.clone());
        Ok(self.modules.len() as u32 - 1)
    }

    /// Appends an entry; it is with the system, and survives this process, when this returns.
    ///
    /// # Errors
    /// Names the file, or what does not fit in the entry. The log is then as it was.
    pub fn append(&mut self, record: &FeatureRecord) -> Result<(), FileError> {
        record.check(&self.modules).map_err(|error| FileError::new(&self.path, error))?;
        self.write(&record.encode())
    }

    /// Waits until what was appended survives a power cut.
    ///
    /// # Errors
    /// Names the file.
    pub fn sync(&self) -> Result<(), FileError> {
        self.file.sync_data().map_err(FileError::system(&self.path, "sync it"))
    }

    /// The modules that were introduced so far, by their numbers.
    pub fn modules(&self) -> &[ModuleId] {
        &self.modules
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), FileError> {
        self.cut()?;
        if let Err(error) = self.file.write_all(frame) {
            // Half a frame must not be followed by a whole one. Should cutting fail as well, it is
            // tried again before the next frame, and the error to tell is the first.
            self.torn = true;
            let _ = self.cut();
            return Err(FileError::system(&self.path, "append to it")(error));
        }
        self.len += frame.len() as u64;
        Ok(())
    }

    fn cut(&mut self) -> Result<(), FileError> {
        if self.torn {
            self.file.set_len(self.len).map_err(FileError::system(&self.path, "cut its torn end off"))?;
            self.torn = false;
        }
        Ok(())
    }
}

/// Whether this is what an end looks like whose length reached the disk before its bytes did.
fn is_tearing(error: &Malformed) -> bool {
    matches!(error, Malformed::Frame(FrameError::NotHitmap | FrameError::HeadDamaged | FrameError::Damaged))
}

impl FeatureReader {
    /// An error when a sound frame begins anywhere behind the damage at which the reader stands.
    fn refuse_sound_frames(&self, error: Malformed) -> Result<(), FileError> {
        let rest = self.len()? - self.offset;
        if rest > LARGEST {
            return Err(self.too_large(rest));
        }
        let rest = self.bytes(rest)?;
        let starts = rest.windows(frame::MAGIC.len()).enumerate().skip(1).filter(|(_, bytes)| *bytes == frame::MAGIC);
        match starts.map(|(at, _)| frame::decode_any(&rest[at..])).any(|frame| frame.is_ok()) {
            true => Err(self.error(Problem::Damaged { at: self.offset, error })),
            false => Ok(()),
        }
    }
}
