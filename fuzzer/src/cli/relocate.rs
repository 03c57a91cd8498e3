//! `--relocate`: hits of other builds, carried over before snapshots are merged or compared.
//!
//! Owns the finding of the libraries' files, and what is told of the result. Which edges correspond
//! is [`hitmap_observers::relocate`]'s.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hitmap_observers::places::{Library, PlacesError};
use hitmap_observers::relocate::Relocation;
use hitmap_observers::snapshot::{ModuleId, ModuleMap, Snapshot};

use super::maps;
use crate::error::Failure;
use crate::launcher::screen::grouped;

/// What the user typed.
#[derive(Debug, Default, clap::Args)]
#[group(id = "relocation")]
pub struct Typed {
    /// Carry hits of other builds of this library over to this one, by function, file and line
    #[arg(long, value_name = "LIBRARY")]
    relocate: Vec<PathBuf>,
    /// Where the other builds are, when they are no longer where they were counted
    #[arg(long, value_name = "FILE|FOLDER", requires = "relocate")]
    old: Vec<PathBuf>,
}

/// What became of one module.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    name: String,
    from: String,
    to: String,
    carried: u64,
    dropped: u64,
    /// Of those that were dropped: in functions that are not told apart.
    unclear: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    such_as: Option<String>,
}

/// Whether hits of a module are to be carried to the file that the user named. One that lies by itself, in no
/// package, stands for the only library of its name.
fn is_meant(target: &ModuleId, id: &ModuleId, snapshot: &Snapshot) -> bool {
    let library = id.library();
    let has_one_of_the_name = || {
        let mut same = snapshot.modules().iter().map(ModuleMap::id).filter(|other| other.name == id.name);
        id.name == target.name && same.all(|other| other.library() == library)
    };
    target.is_same_library(id) || (!target.library().contains('/') && has_one_of_the_name())
}

/// The builds that hits are carried to, opened.
pub struct Relocate<'a> {
    typed: &'a Typed,
    targets: Vec<(ModuleId, Library)>,
    known: BTreeMap<(Vec<u8>, u32, u32), Relocation>,
    /// What became of hits so far, by name, old and new build.
    moved: BTreeMap<(String, String, String), Moved>,
}

impl<'a> Relocate<'a> {
    /// Opens the libraries that were named with `--relocate`.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn new(typed: &'a Typed) -> Result<Relocate<'a>, Failure> {
        let open = |path: &PathBuf| {
            let id = ModuleId::of_file(path)?;
            let library = Library::of(&id)?;
            Ok((id, library))
        };
        let targets = typed.relocate.iter().map(open).collect::<Result<Vec<_>, PlacesError>>();
        let targets = targets.map_err(|error| Failure::usage(format!("cannot carry hits to {error}")))?;
        Ok(Relocate { typed, targets, known: BTreeMap::new(), moved: BTreeMap::new() })
    }

    /// The snapshot with its modules of other builds carried over.
    ///
    /// # Errors
    /// When the file of a build that was counted is nowhere.
    pub fn apply(&mut self, snapshot: Snapshot) -> Result<Snapshot, Failure> {
        let mut result = Snapshot::default();
        for module in snapshot.modules() {
            let target = self.targets.iter().position(|(target, _)| is_meant(target, module.id(), &snapshot));
            let target = target.filter(|at| self.targets[*at].0.key() != module.id().key());
            let module = match target {
                Some(target) => self.carried(module, target)?,
                None => module.clone(),
            };
            result.merge(&Snapshot::new(vec![module], Default::default()));
        }
        result.meta = snapshot.meta;
        Ok(result)
    }

    fn carried(&mut self, module: &ModuleMap, target: usize) -> Result<ModuleMap, Failure> {
        let (identity, kind, edges) = module.id().key();
        let key = (identity.to_vec(), kind, edges);
        if !self.known.contains_key(&key) {
            let relocation = Relocation::between(&self.find(module.id())?, &self.targets[target].1);
            self.known.insert(key.clone(), relocation);
        }
        let became = self.known[&key].carry(module.hits());
        let id = self.targets[target].0.clone();
        let (name, from, to) = (id.name.clone(), module.id().identity.to_string(), id.identity.to_string());
        let moved = self.moved.entry((name.clone(), from.clone(), to.clone())).or_insert(Moved {
            name,
            from,
            to,
            carried: 0,
            dropped: 0,
            unclear: 0,
            such_as: None,
        });
        moved.carried += became.hits.len() as u64;
        moved.dropped += became.dropped;
        moved.unclear += became.unclear;
        moved.such_as = moved.such_as.take().or(became.such_as);
        Ok(ModuleMap::new(id, became.hits).expect("edges of the new build"))
    }

    /// The file of a build that was counted: where it was, or where the user says.
    fn find(&self, id: &ModuleId) -> Result<Library, Failure> {
        let mut tried = Vec::new();
        let named = self.typed.old.iter().map(|old| if old.is_dir() { old.join(&id.name) } else { old.clone() });
        for path in std::iter::once(PathBuf::from(&id.path)).chain(named) {
            match Library::of(&ModuleId { path: path.to_string_lossy().into_owned(), ..id.clone() }) {
                Ok(library) => return Ok(library),
                Err(error) => tried.push(format!("  {}", maps::printable(&error.to_string()))),
            }
        }
        Err(Failure::usage(format!(
            "to carry over what build {} of {} hit, its file is needed, and it is not found:\n{}\n\
             name the file, or its folder, with --old",
            id.identity,
            maps::name(id),
            tried.join("\n")
        )))
    }

    /// What was done, build by build.
    pub fn moved(&self) -> Vec<Moved> {
        self.moved.values().cloned().collect()
    }

    /// The same in sentences.
    pub fn told(&self) -> Vec<String> {
        let one = |moved: Moved| {
            let unclear = match &moved.such_as {
                Some(function) => format!(
                    ", {} of them because the builds have several functions of that name, or that file was moved or \
                     replaced: {}",
                    grouped(moved.unclear),
                    maps::printable(function)
                ),
                None => String::new(),
            };
            format!(
                "{}: {} hits of build {} were carried over to build {}, {} were dropped{unclear}",
                maps::printable(&moved.name),
                grouped(moved.carried),
                moved.from,
                moved.to,
                grouped(moved.dropped)
            )
        };
        self.moved().into_iter().map(one).collect()
    }
}
