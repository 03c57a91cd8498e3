//! An exported finding: one tar file with all that it takes to run the input elsewhere.
//!
//! In it is a folder like a finding's in a campaign; `setup.json`, its first entry, names the harness by its
//! place in the archive, and no interpreter. An archive comes from elsewhere, so nothing in it is believed:
//! only the files that a finding has are unpacked, each with a bound.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use super::manifest::SETUP;
use crate::disk;
use crate::error::Failure;

/// The folder in the archive that holds the harness.
pub const HARNESS: &str = "harness";
/// Bytes of the largest file in an archive.
const LARGEST: u64 = 256 << 20;
/// Bytes of all that is unpacked.
const ROOM: u64 = 1 << 30;
/// What a tar file has at byte 257.
const MAGIC: &[u8] = b"ustar";

/// Makes the archive of a finding: `top` names its folder, `files` its files, `setup.json` first.
///
/// # Errors
/// What the archive's format refuses.
pub fn pack(top: &str, files: &[(String, Vec<u8>)], created: u64) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(created);
        tar.append_data(&mut header, format!("{top}/{name}"), content.as_slice())?;
    }
    tar.into_inner()
}

/// Whether a file is the archive of a finding, and not an input that is a tar file.
pub fn is_one(path: &Path) -> bool {
    let Ok((head, _)) = disk::read_start(path, 512) else { return false };
    let name = head.split(|byte| *byte == 0).next().unwrap_or_default();
    head.get(257..257 + MAGIC.len()) == Some(MAGIC) && name.ends_with(format!("/{SETUP}").as_bytes())
}

/// A finding that was unpacked; gone when this is dropped.
pub struct Unpacked {
    folder: TempDir,
}

impl Unpacked {
    /// The finding's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Unpacks a finding.
///
/// # Errors
/// When it holds anything that a finding does not have.
pub fn unpack(path: &Path) -> Result<Unpacked, Failure> {
    let refuse = |why: String| Failure::usage(format!("{}: {why}; ask for the archive again", path.display()));
    let (file, _) = disk::open(path).map_err(Failure::disk("cannot read"))?;
    let folder = tempfile::tempdir().map_err(Failure::system("no folder for temporary files"))?;
    let mut tar = tar::Archive::new(file.take(ROOM));
    let mut names = HashSet::new();
    for entry in tar.entries().map_err(|e| refuse(e.to_string()))? {
        let mut entry = entry.map_err(|e| refuse(e.to_string()))?;
        let named = entry.path().map_err(|e| refuse(e.to_string()))?.into_owned();
        let known = place(&named).filter(|_| entry.header().entry_type().is_file());
        let Some(name) = known.filter(|name| names.insert(name.clone())) else {
            return Err(refuse(format!("holds {}, which no exported finding does", named.display())));
        };
        let mut content = Vec::new();
        entry.by_ref().take(LARGEST + 1).read_to_end(&mut content).map_err(|e| refuse(e.to_string()))?;
        if content.len() as u64 > LARGEST {
            return Err(refuse(format!("{} is larger than any part of a finding", named.display())));
        }
        let target = folder.path().join(name);
        let parent = target.parent().unwrap_or(folder.path());
        std::fs::create_dir_all(parent).map_err(Failure::file("cannot make", parent))?;
        disk::make(&target, &content).map_err(Failure::disk("cannot write"))?;
    }
    for part in [SETUP, "input"] {
        if !names.contains(Path::new(part)) {
            return Err(refuse(format!("has no {part}")));
        }
    }
    Ok(Unpacked { folder })
}

/// Where an entry goes, without the folder that it is in; `None` for what no finding has.
fn place(named: &Path) -> Option<PathBuf> {
    let parts: Option<Vec<&str>> = named
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str().filter(|name| !name.starts_with('.')),
            _ => None,
        })
        .collect();
    match parts?[..] {
        [_, name] if is_part(name) => Some(name.into()),
        [_, HARNESS, file] => Some(Path::new(HARNESS).join(file)),
        _ => None,
    }
}

/// Whether a finding's folder has a file of this name.
pub fn is_part(name: &str) -> bool {
    let is_test = name.starts_with("test_") && name.ends_with(".py");
    is_test || [SETUP, "input", "report.json", "traceback.txt", "coverage.hitmap"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> (String, Vec<u8>) {
        (name.into(), name.as_bytes().to_vec())
    }

    fn packed(folder: &Path, files: &[(String, Vec<u8>)]) -> PathBuf {
        let path = folder.join("a.tar");
        std::fs::write(&path, pack("signal-aa", files, 7).unwrap()).unwrap();
        path
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let files = [SETUP, "input", "report.json", "test_aa.py", "harness/h.py"].map(file);
        let path = packed(folder.path(), &files);
        assert!(is_one(&path));
        let unpacked = unpack(&path).unwrap();
        for (name, content) in files {
            assert_eq!(std::fs::read(unpacked.path().join(name)).unwrap(), content);
        }
        let other = packed(folder.path(), &["input", SETUP].map(file));
        assert!(!is_one(&other), "a tar file is an input as any other");
    }

    #[test]
    fn what_no_finding_has_is_not_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        for stranger in ["sitecustomize.py", "harness/a/b.py", "harness/.pth", ".hitmap", "input"] {
            let path = packed(folder.path(), &[SETUP, "input", stranger].map(file));
            let said = unpack(&path).err().unwrap().message;
            assert!(said.contains(&format!("{stranger}, which no exported finding does")), "{said}");
        }
        let said = unpack(&packed(folder.path(), &[file(SETUP)])).err().unwrap().message;
        assert!(said.contains("has no input"), "{said}");
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo, tar::EntryType::Directory] {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            tar.append_link(&mut header, "x/input", "/etc/passwd").unwrap();
            let path = folder.path().join("link.tar");
            std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
            assert!(unpack(&path).is_err(), "{kind:?}");
        }
        for up in ["../input", "/x/input", "x/../input", "x"] {
            assert_eq!(place(Path::new(up)), None, "{up}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_archive_is_safe(bytes: Vec<u8>, at in 0usize..2048, byte: u8) {
            let folder = tempfile::tempdir().unwrap();
            let path = packed(folder.path(), &[SETUP, "input"].map(file));
            let mut damaged = std::fs::read(&path).unwrap();
            damaged[at] = byte;
            for content in [bytes, damaged] {
                std::fs::write(&path, content).unwrap();
                is_one(&path);
                let _ = unpack(&path);
            }
        }
    }
}
