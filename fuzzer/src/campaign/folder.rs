//! One engine's part of a campaign: `OUT/<worker>/` in AFL++'s layout, with one writer.
//!
//! An entry is kept in two steps: the input is written under another name and renamed into `queue/`,
//! then a record of what it covers is appended to `features.hitmap`. Killed in between, the input is
//! there without a record; the next session runs it again and records it.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use hitmap_observers::observer::Hit;
use hitmap_observers::snapshot::{FeatureLog, FeatureRecord, Hits, ModuleHits, ModuleId};
use hitmap_wire::modules::Module;

use super::names;
use crate::disk;
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
    /// The highest number of an entry, those that were left out too.
    pub last: Option<usize>,
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
        let (mut entries, mut notes, mut last, mut changed) = (Vec::new(), Vec::new(), None, 0);
        for name in queue_names(&path).map_err(Failure::file("cannot read", &path.join("queue")))? {
            last = last.max(names::number(&name));
            let input = match disk::read(&path.join("queue").join(&name), disk::LONGEST_INPUT) {
                Ok(input) => input,
                Err(error) => {
                    let remedy = disk::remedy(&error).unwrap_or("move it away");
                    notes.push(format!("this entry of the queue is left out: {error}; {remedy}"));
                    records.remove(&name);
                    continue;
                }
            };
            let record = records.remove(&name);
            let is_known = record.is_some();
            let record = record.filter(|record| is_of(record, &input));
            changed += usize::from(is_known && record.is_none());
            entries.push(Entry { name, input, record });
        }
        if repair.dropped > 0 {
            let log = path.join("features.hitmap");
            notes.push(format!("{}: {} damaged bytes at its end were cut off", log.display(), repair.dropped));
        }
        let unrecorded = entries.iter().filter(|e| e.record.is_none()).count() - changed;
        for (count, what) in [
            (unrecorded, "without a record of what they cover: they are run again"),
            (changed, "changed since they were kept: they are run again"),
            (records.len(), "gone since they were kept: what they alone covered may be found anew"),
        ] {
            if count > 0 {
                notes.push(format!("{}: entries of the queue {what}: {count}", path.display()));
            }
        }
        let modules = log.modules().to_vec();
        Ok((Folder { path, log }, Left { entries, last, modules, notes }))
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
        std::fs::create_dir_all(&folder).map_err(disk::at(&folder))?;
        disk::make(&folder.join(name), b"")
    }

    /// Records what an entry covers. `record.hits` is filled in from `hits`.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn record(&mut self, mut record: FeatureRecord, hits: &[Hit], modules: &[Module]) -> io::Result<()> {
        for (module, hits) in split(hits, modules) {
            let module = self.log.module(&module_id(module)).map_err(disk::of)?;
            record.hits.push(ModuleHits { module, hits });
        }
        self.log.append(&record).map_err(disk::of)
    }

    /// Keeps the input of a finding where AFL++ keeps it.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn keep_finding(&self, folder: &str, name: &str, input: &[u8]) -> io::Result<()> {
        disk::make(
            &self.path.join(folder).join("README.txt"),
            b"One input for each bug that this worker found first, named as AFL++ names them.\n\
              Reports, stacks and the command that replays each are in ../../findings/.\n",
        )?;
        self.place(folder, name, input)
    }

    fn place(&self, folder: &str, name: &str, input: &[u8]) -> io::Result<()> {
        disk::place(&self.path, &self.path.join(folder).join(name), input)
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
        self.log.sync().map_err(disk::of)
    }
}

/// The names of an engine's entries, in their order.
///
/// # Errors
/// What the file system reports.
pub fn queue_names(path: &Path) -> io::Result<Vec<String>> {
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

/// The key in a record under which the hash of the entry's bytes stands.
const HASH: &str = "xxh3";

/// What a record of this input says besides what it covers.
pub fn marks(input: &[u8]) -> BTreeSet<(String, String)> {
    BTreeSet::from([(HASH.into(), format!("{:016x}", xxhash_rust::xxh3::xxh3_64(input)))])
}

/// Whether a record is of these bytes. Records of earlier versions have no hash.
fn is_of(record: &FeatureRecord, input: &[u8]) -> bool {
    let mut hashes = record.extra.iter().filter(|(key, _)| key == HASH);
    record.len as usize == input.len() && hashes.all(|mark| marks(input).contains(mark))
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
        let (_folder, Left { entries, modules: ids, notes, .. }) = Folder::open(out.path(), "w0").unwrap();
        assert_eq!(entries.len(), 2);
        assert!(notes[0].contains("without a record of what they cover: they are run again: 1"), "{notes:?}");
        let moved = [module("b", 4096), module("a", 8192)];
        let record = entries[0].record.as_ref().unwrap();
        assert_eq!(join(record, &ids, &moved), (vec![(8196, 1), (4096, 128)], false));
        assert_eq!(join(record, &ids, &moved[..1]), (vec![(4096, 128)], true));
        assert_eq!(entries[1].record, None);
    }

    #[test]
    fn an_entry_that_is_not_what_was_kept_is_run_again_or_left_out() {
        let out = tempfile::tempdir().unwrap();
        let modules = [module("a", 4096)];
        {
            let (mut folder, _) = Folder::open(out.path(), "w0").unwrap();
            for (number, input) in ["same", "grew", "turn", "gone", "huge", "pipe"].iter().enumerate() {
                let name = format!("id:{number:06}");
                folder.keep_input(&name, input.as_bytes()).unwrap();
                let extra = if number == 0 { BTreeSet::new() } else { marks(input.as_bytes()) };
                let record = FeatureRecord { name, len: 4, extra, ..FeatureRecord::default() };
                folder.record(record, &[(4100, 1)], &modules).unwrap();
            }
        }
        let file = |number: usize| out.path().join(format!("w0/queue/id:{number:06}"));
        std::fs::write(file(1), "grew much").unwrap();
        std::fs::write(file(2), "nrut").unwrap();
        std::fs::write(file(3), "").unwrap();
        std::fs::File::options().write(true).open(file(4)).unwrap().set_len(1 << 40).unwrap();
        std::fs::remove_file(file(5)).unwrap();
        std::fs::create_dir(file(5)).unwrap();
        let (_folder, left) = Folder::open(out.path(), "w0").unwrap();
        let recorded: Vec<bool> = left.entries.iter().map(|entry| entry.record.is_some()).collect();
        assert_eq!((recorded, left.last), (vec![true, false, false, false], Some(5)));
        let notes = left.notes.join("\n");
        for says in
            ["id:000004: it has 1099511627776 bytes", "id:000005: it is not a file but a folder", "run again: 3"]
        {
            assert!(notes.contains(says), "{notes}");
        }
    }

    #[test]
    fn a_folder_has_one_writer() {
        let out = tempfile::tempdir().unwrap();
        let _first = Folder::open(out.path(), "w0").unwrap();
        assert!(Folder::open(out.path(), "w0").is_err());
    }
}
