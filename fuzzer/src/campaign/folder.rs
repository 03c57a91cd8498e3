//! One engine's part of a campaign: `OUT/<worker>/` in AFL++'s layout, with one writer.
//!
//! An entry is kept in two steps: the input is written under another name and renamed into `queue/`,
//! then a record of what it covers is appended to `features.hitmap`. Killed in between, the input is
//! there without a record; the next session runs it again and records it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use hitmap_observers::observer::Hit;
use hitmap_observers::snapshot::{FeatureLog, FeatureRecord, Hits, ModuleHits, ModuleId};
use hitmap_wire::modules::Module;

use super::{making, names};
use crate::error::Failure;

/// AFL++'s folders, and ours beside them.
const FOLDERS: [&str; 3] = ["queue", "crashes", "hangs"];

/// One engine's folder, and the log that says what its entries cover.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    log: FeatureLog,
}

/// What earlier sessions left.
#[derive(Debug)]
pub struct Left {
    /// The entries, in their order.
    pub entries: Vec<Entry>,
    /// The modules that their records speak of.
    pub modules: Vec<ModuleId>,
    /// What was found damaged, for the user to know.
    pub notes: Vec<String>,
}

/// An entry of an earlier session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its file name in `queue/`.
    pub name: String,
    /// Its bytes.
    pub input: Vec<u8>,
    /// What it covers; `None` when it has no record and must be run.
    pub record: Option<FeatureRecord>,
}

impl Folder {
    /// Opens `OUT/<name>`, which is made if need be, with what earlier sessions left.
    ///
    /// # Errors
    /// When the folder cannot be used, or another engine writes to it now.
    pub fn open(out: &Path, name: &str) -> Result<(Folder, Left), Failure> {
        let path = out.join(name);
        for folder in FOLDERS {
            let folder = path.join(folder);
            std::fs::create_dir_all(&folder).map_err(Failure::file("cannot make", &folder))?;
        }
        let mut records = HashMap::new();
        let log = FeatureLog::resume(path.join("features.hitmap"), |_, record| {
            records.insert(record.name.clone(), record);
        });
        super::sweep_temporaries(&path);
        let (log, repair) = log.map_err(|e| Failure::usage(e.to_string()))?;
        let mut entries = Vec::new();
        for name in queue_names(&path).map_err(Failure::file("cannot read", &path.join("queue")))? {
            let file = path.join("queue").join(&name);
            let input = std::fs::read(&file).map_err(Failure::file("cannot read", &file))?;
            let record = records.remove(&name).filter(|r| r.len as usize == input.len());
            entries.push(Entry { name, input, record });
        }
        let mut notes = Vec::new();
        let unrecorded = entries.iter().filter(|e| e.record.is_none()).count();
        if repair.dropped > 0 || unrecorded > 0 {
            notes.push(format!(
                "{}: {} damaged bytes at its end were cut off; {unrecorded} entries of the queue are run again",
                path.join("features.hitmap").display(),
                repair.dropped
            ));
        }
        let modules = log.modules().to_vec();
        Ok((Folder { path, log }, Left { entries, modules, notes }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps an input in the queue.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn keep_input(&self, name: &str, input: &[u8]) -> io::Result<()> {
        self.place("queue", name, input)
    }

    /// Marks an entry as AFL++ does one whose coverage varies.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn mark_variable(&self, name: &str) -> io::Result<()> {
        let folder = self.path.join("queue/.state/variable_behavior");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), b"")
    }

    /// Records what an entry covers. `record.hits` is filled in from `hits`.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn record(&mut self, mut record: FeatureRecord, hits: &[Hit], modules: &[Module]) -> io::Result<()> {
        for (module, hits) in split(hits, modules) {
            let module = self.log.module(&module_id(module)).map_err(io::Error::other)?;
            record.hits.push(ModuleHits { module, hits });
        }
        self.log.append(&record).map_err(io::Error::other)
    }

    /// Keeps the input of a finding where AFL++ keeps it.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn keep_finding(&self, folder: &str, name: &str, input: &[u8]) -> io::Result<()> {
        let readme = self.path.join(folder).join("README.txt");
        if !readme.exists() {
            std::fs::write(
                readme,
                "One input for each bug that this worker found first, named as AFL++ names them.\n\
                 Reports, stacks and the command that replays each are in ../../findings/.\n",
            )?;
        }
        self.place(folder, name, input)
    }

    fn place(&self, folder: &str, name: &str, input: &[u8]) -> io::Result<()> {
        let making = self.path.join(making("input"));
        std::fs::write(&making, input)?;
        std::fs::rename(making, self.path.join(folder).join(name))
    }

    /// How many findings `crashes` or `hangs` holds.
    pub fn findings(&self, folder: &str) -> usize {
        let ours = |entry: &std::fs::DirEntry| names::number(&entry.file_name().to_string_lossy()).is_some();
        std::fs::read_dir(self.path.join(folder)).map_or(0, |all| all.flatten().filter(ours).count())
    }

    /// Waits until what was recorded survives a power cut.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn sync(&self) -> io::Result<()> {
        self.log.sync().map_err(io::Error::other)
    }
}

fn queue_names(path: &Path) -> io::Result<Vec<String>> {
    let mut all: Vec<(usize, String)> = Vec::new();
    for entry in std::fs::read_dir(path.join("queue"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(number) = names::number(&name) {
            all.push((number, name));
        }
    }
    all.sort();
    Ok(all.into_iter().map(|(_, name)| name).collect())
}

/// What names a module in saved files.
pub fn module_id(module: &Module) -> ModuleId {
    ModuleId::from(module)
}

/// A module of a saved file as a region takes it.
pub fn module_of(id: &ModuleId) -> Module {
    Module {
        identity: id.identity,
        path: id.path.clone(),
        kind: id.kind,
        base: 0,
        edges: id.edges,
        load_bias: 0,
        pc_table: 0,
    }
}

/// Sorts hits by the module that owns them, in local numbers. Hits of no module are left out.
pub fn split<'a>(hits: &[Hit], modules: &'a [Module]) -> Vec<(&'a Module, Hits)> {
    let local = |module: &Module| {
        let inside = hits.iter().filter(|(edge, _)| module.range().contains(edge));
        let hits =
            inside.map(|(edge, class)| hitmap_observers::snapshot::Hit { edge: edge - module.base, class: *class });
        Hits::from_unsorted(hits.collect()).unwrap_or_default()
    };
    modules
        .iter()
        .filter(|m| !m.is_refused())
        .map(|module| (module, local(module)))
        .filter(|(_, hits)| !hits.is_empty())
        .collect()
}

/// The region's numbers of what a record covers. Hits of modules that the region does not have are
/// left out; the flag says whether there were any.
pub fn join(record: &FeatureRecord, ids: &[ModuleId], modules: &[Module]) -> (Vec<Hit>, bool) {
    let mut all = Vec::new();
    let mut foreign = false;
    for part in &record.hits {
        let here = ids
            .get(part.module as usize)
            .and_then(|id| modules.iter().find(|m| (m.identity, m.kind, m.edges) == (id.identity, id.kind, id.edges)));
        match here {
            Some(module) => all.extend(part.hits.iter().map(|hit| (module.base + hit.edge, hit.class))),
            None => foreign = true,
        }
    }
    (all, foreign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hitmap_wire::identity::Identity;

    fn module(name: &str, base: u32) -> Module {
        Module {
            identity: Identity::new(name.as_bytes()),
            path: format!("/x/{name}.so"),
            kind: 3,
            base,
            edges: 100,
            load_bias: 0,
            pc_table: 0,
        }
    }

    #[test]
    fn entries_come_back_with_what_they_cover() {
        let out = tempfile::tempdir().unwrap();
        let modules = [module("a", 4096), module("b", 8192)];
        let hits = [(4100, 1), (8192, 128)];
        {
            let (mut folder, left) = Folder::open(out.path(), "w0").unwrap();
            assert_eq!(left.entries, []);
            folder.keep_input("id:000000,x", b"hello").unwrap();
            let record = FeatureRecord { name: "id:000000,x".into(), len: 5, ..FeatureRecord::default() };
            folder.record(record, &hits, &modules).unwrap();
            folder.keep_input("id:000001,y", b"no record").unwrap();
        }
        let (_folder, Left { entries, modules: ids, notes }) = Folder::open(out.path(), "w0").unwrap();
        assert_eq!(entries.len(), 2);
        assert!(notes[0].contains("1 entries of the queue are run again"), "{notes:?}");
        let moved = [module("b", 4096), module("a", 8192)];
        let record = entries[0].record.as_ref().unwrap();
        assert_eq!(join(record, &ids, &moved), (vec![(8196, 1), (4096, 128)], false));
        assert_eq!(join(record, &ids, &moved[..1]), (vec![(4096, 128)], true));
        assert_eq!(entries[1].record, None);
    }

    #[test]
    fn a_folder_has_one_writer() {
        let out = tempfile::tempdir().unwrap();
        let _first = Folder::open(out.path(), "w0").unwrap();
        assert!(Folder::open(out.path(), "w0").is_err());
    }
}
