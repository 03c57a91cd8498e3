//! The one way to read and to make files on disk.
//!
//! Reading is [`hitmap_observers::disk`]'s: ordinary files, with a bound. Files are made under names that
//! nobody else has taken, and renamed into place: whoever looks sees all of a file or none of it, and a
//! link that somebody put under the name is replaced, never followed. Files that grow are opened
//! without following a link, and only when they are ordinary files. Errors name the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub use hitmap_observers::disk::{at, code_of, open, read, read_end, read_start, read_text};
use hitmap_observers::disk::{not_a_file, other_than_a_file};
use hitmap_observers::snapshot::{FileError, Problem};

/// The longest input that a child can be given, and so the longest that is read, in bytes.
pub const LONGEST_INPUT: u64 = hitmap_wire::batch::DEFAULT_ARENA as u64;
/// The longest text that is read: `campaign.json`, `report.json`, statistics, dictionaries.
pub const LONGEST_TEXT: u64 = 64 << 20;

/// Replaces `path` by `content`, at once or not at all, also when the power fails.
///
/// # Errors
/// Names the path.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    put(folder_of(path), path, content, true)
}

/// [`replace`] by way of the folder `making`, which must be of the same file system, and without
/// waiting for the disk: for many small files in a folder whose listing others read.
///
/// # Errors
/// Names the path.
pub fn place(making: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    put(making, path, content, false)
}

fn put(making: &Path, path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
    let put = || {
        let mut made = tempfile::Builder::new();
        let mut made = made.prefix(&making_prefix()).make_in(making, |path| File::create_new(path))?;
        // Errors of the file itself are the system's; `tempfile`'s name a file that nobody knows.
        let file = made.as_file_mut();
        file.write_all(content)?;
        if sync {
            file.sync_all()?;
        }
        made.persist(path).map(drop).map_err(|refused| refused.error)
    };
    put().map_err(at(path))
}

/// Makes a file that nobody has made. What is there already stays: no error.
///
/// # Errors
/// Names the path.
pub fn make(path: &Path, content: &[u8]) -> io::Result<()> {
    match File::create_new(path).and_then(|mut file| file.write_all(content)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(at(path)),
    }
}

/// Opens a file that grows, which is made if need be.
///
/// # Errors
/// Names the path: what the system reports, a link or what it is instead of a file.
pub fn append(path: &Path) -> io::Result<File> {
    let open = || {
        if let Ok(about) = std::fs::symlink_metadata(path) {
            match other_than_a_file(&about) {
                _ if about.is_symlink() => return Err(not_a_file("a link")),
                Some(what) => return Err(not_a_file(what)),
                None => {}
            }
        }
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().create(true).append(true).custom_flags(flags).open(path)?;
        match other_than_a_file(&file.metadata()?) {
            Some(what) => Err(not_a_file(what)),
            None => Ok(file),
        }
    };
    open().map_err(at(path))
}

/// Makes a folder in `parent`, which is made if need be, under a name that nobody else has taken: for
/// a folder that is filled before it is renamed into place.
///
/// # Errors
/// Names the parent.
pub fn new_folder(parent: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(parent).map_err(at(parent))?;
    let made = tempfile::Builder::new().prefix(&making_prefix()).make_in(parent, |path| std::fs::create_dir(path));
    made.and_then(|made| Ok(made.into_temp_path().keep()?)).map_err(at(parent))
}

/// How the names begin under which this process makes files and folders.
pub fn making_prefix() -> String {
    format!(".making-{}-", std::process::id())
}

/// An error of a snapshot or a feature log as this module has them.
pub fn of(error: FileError) -> io::Error {
    match error.problem {
        Problem::System { error: why, .. } => at(&error.path)(why),
        problem => at(&error.path)(io::Error::new(io::ErrorKind::InvalidData, problem.to_string())),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What helps against an error of the file system; `None` when nothing is known to.
pub fn remedy(error: &io::Error) -> Option<&'static str> {
    Some(match code_of(error) {
        Some(libc::ENOSPC | libc::EDQUOT) => "free some space there, or use a folder on another disk",
        Some(libc::EFBIG) => "raise the limit of file sizes (ulimit -f)",
        Some(libc::EMFILE) => "raise the limit of open files (ulimit -n)",
        Some(libc::ENOMEM) => "raise the limit of memory (ulimit -v)",
        Some(libc::EISDIR | libc::ENOTEMPTY) => "a folder has the name of the file: move it away",
        Some(libc::ENOTDIR | libc::EEXIST) => "a file has the name of the folder: move it away",
        Some(libc::EROFS) => "it is on a disk that cannot be written: use another folder",
        Some(libc::EACCES | libc::EPERM) => "you are not allowed to: ask its owner, or use another folder",
        Some(libc::ELOOP) => "it is a link: remove it",
        None if error.kind() == io::ErrorKind::InvalidInput => "move it away",
        None if error.kind() == io::ErrorKind::FileTooLarge => "move it away, or cut it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn left(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, path) = (folder.path().join("secret"), folder.path().join("a"));
        std::fs::write(&secret, "mine").unwrap();
        for write in [|path: &Path| replace(path, b"new"), |path: &Path| place(path.parent().unwrap(), path, b"new")] {
            symlink(&secret, &path).unwrap();
            write(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"new");
            assert!(!path.is_symlink());
            std::fs::remove_file(&path).unwrap();
        }
        symlink(&secret, &path).unwrap();
        make(&path, b"new").unwrap();
        let refused = append(&path).unwrap_err();
        assert!(refused.to_string().ends_with("a: it is not a file but a link"), "{refused}");
        assert_eq!(std::fs::read(&secret).unwrap(), b"mine");
        assert_eq!(left(folder.path()), ["a", "secret"], "no leftovers");
    }

    #[test]
    fn what_is_in_the_way_is_named_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::create_dir(&path).unwrap();
        for refused in [replace(&path, b"x").unwrap_err(), append(&path).unwrap_err()] {
            assert!(refused.to_string().contains(&format!("{}:", path.display())), "{refused}");
            assert!(remedy(&refused).unwrap().contains("move it away"), "{refused}");
        }
        let gone = replace(&folder.path().join("gone/a"), b"x").unwrap_err();
        assert_eq!(code_of(&gone), Some(libc::ENOENT), "{gone:?}");
        assert!(gone.to_string().ends_with("gone/a: No such file or directory (os error 2)"), "{gone}");
        assert_eq!(left(folder.path()), ["a"]);
    }

    #[test]
    fn files_have_the_mode_that_others_have() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("a"), folder.path().join("b"));
        replace(&ours, b"x").unwrap();
        std::fs::write(&theirs, b"x").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&theirs));
    }
}
