//! One module of a snapshot: what names it on every machine, and which of its edges were hit.

use hitmap_wire::identity::Identity;
use hitmap_wire::modules::Module;
use serde::{Deserialize, Serialize};

use super::library::below_root;
use super::{Gained, Hits, Malformed};

/// What is known of a module besides its hits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModuleId {
    /// Its name for itself: the build-id, or a hash of its code.
    pub identity: Identity,
    /// How it is instrumented, as in [`hitmap_wire::modules`].
    pub kind: u32,
    /// How many edges it has.
    pub edges: u32,
    /// Its file name, for people.
    pub name: String,
    /// Where it was loaded from, for people and symbolizers.
    pub path: String,
    /// Where that is below the folder that it is imported from, such as `pa/_core.so`; empty when that is no
    /// more than the name, follows from the path, or is not known. See [`ModuleId::library`].
    pub below: String,
}

/// What tells modules apart, and the order in which a snapshot holds them: by the identity's bytes,
/// then kind, then edges. It is how the region tells them apart, too.
pub type Key<'a> = (&'a [u8], u32, u32);

impl ModuleId {
    /// See [`Key`].
    pub fn key(&self) -> Key<'_> {
        (self.identity.as_bytes(), self.kind, self.edges)
    }

    /// Two machines may load the same module from different places. One of them has to stay, and it
    /// must not matter who merges whom: one with a name before one without, then the smaller.
    fn adopt_label(&mut self, other: &ModuleId) {
        fn order(id: &ModuleId) -> (bool, &str, bool, &str) {
            (id.name.is_empty(), &id.name, id.path.is_empty(), &id.path)
        }
        if order(other) < order(self) {
            self.name.clone_from(&other.name);
            self.path.clone_from(&other.path);
        }
        let order = |below: &str| (!below.ends_with(&format!("/{}", self.name)), below.to_owned());
        if order(&other.below) < order(&self.below) {
            self.below.clone_from(&other.below);
        }
    }
}

impl From<&Module> for ModuleId {
    fn from(module: &Module) -> ModuleId {
        ModuleId {
            identity: module.identity,
            kind: module.kind,
            edges: module.edges,
            name: module.name().to_owned(),
            path: module.path.clone(),
            below: below_root(&module.path, &[] as &[&str]),
        }
    }
}

/// A module and its hits, each of which it has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModuleMap {
    id: ModuleId,
    hits: Hits,
}

impl ModuleMap {
    /// A module with these hits.
    ///
    /// # Errors
    /// [`Malformed::Identity`] for a module without one, [`Malformed::Edge`] for an edge that it does
    /// not have.
    pub fn new(id: ModuleId, hits: Hits) -> Result<ModuleMap, Malformed> {
        if id.identity.is_empty() {
            return Err(Malformed::Identity { name: id.name, len: 0 });
        }
        match hits.last() {
            Some(last) if last.edge >= id.edges => {
                Err(Malformed::Edge { name: id.name, edge: last.edge, edges: id.edges })
            }
            _ => Ok(ModuleMap { id, hits }),
        }
    }

    /// What names it.
    pub fn id(&self) -> &ModuleId {
        &self.id
    }

    /// Its edges that were hit.
    pub fn hits(&self) -> &Hits {
        &self.hits
    }

    /// The same module with other hits, which must be a selection of hits of this module.
    pub(super) fn with_hits(&self, hits: Hits) -> ModuleMap {
        debug_assert!(hits.last().is_none_or(|last| last.edge < self.id.edges));
        ModuleMap { id: self.id.clone(), hits }
    }

    /// What names it, to be completed.
    pub(super) fn id_mut(&mut self) -> &mut ModuleId {
        &mut self.id
    }

    /// See [`ModuleId::adopt_label`].
    pub(super) fn adopt_label(&mut self, other: &ModuleMap) {
        self.id.adopt_label(&other.id);
    }

    /// Takes in the hits of the other; the other must have the same key.
    pub(super) fn merge(&mut self, other: &ModuleMap) -> Gained {
        debug_assert_eq!(self.id.key(), other.id.key());
        self.id.adopt_label(&other.id);
        self.hits.merge(&other.hits)
    }
}

/// A [`ModuleId`] as it stands in files. The order of the fields is the format.
#[derive(Serialize, Deserialize)]
pub(super) struct WireId<'a> {
    identity: &'a [u8],
    kind: u32,
    edges: u32,
    name: &'a str,
    path: &'a str,
}

impl<'a> From<&'a ModuleId> for WireId<'a> {
    fn from(id: &'a ModuleId) -> WireId<'a> {
        let (identity, kind, edges) = id.key();
        WireId { identity, kind, edges, name: &id.name, path: &id.path }
    }
}

impl TryFrom<WireId<'_>> for ModuleId {
    type Error = Malformed;

    fn try_from(wire: WireId<'_>) -> Result<ModuleId, Malformed> {
        let identity = Identity::new(wire.identity);
        if identity.as_bytes() != wire.identity || identity.is_empty() {
            return Err(Malformed::Identity { name: wire.name.to_owned(), len: wire.identity.len() });
        }
        let (name, path) = (wire.name.to_owned(), wire.path.to_owned());
        Ok(ModuleId { identity, kind: wire.kind, edges: wire.edges, name, path, below: String::new() })
    }
}
