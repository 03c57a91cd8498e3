//! Snapshots as sets of edges: union, intersection, difference, and how many edges they share.
//!
//! Everything goes module by module, by [`Key`]: modules of different builds never mix, whatever
//! their names. Merging takes the larger class of every edge, so on modules it is commutative,
//! associative and idempotent to the byte; [`Meta`](super::Meta) says what becomes of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use hitmap_wire::identity::Identity;

use super::{Hits, Key, ModuleId, ModuleMap, Snapshot};

/// What merging brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gained {
    /// Edges that were not hit before.
    pub edges: u64,
    /// Edges that were hit before, in a smaller class.
    pub classes: u64,
}

impl AddAssign for Gained {
    fn add_assign(&mut self, other: Gained) {
        self.edges += other.edges;
        self.classes += other.classes;
    }
}

/// Two builds of one library ([`ModuleId::library`]): not an edge in common.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is build {left} in one snapshot and build {right} in the other, and their edges do not correspond")]
pub struct Conflict {
    /// The name of both.
    pub name: String,
    /// What the first snapshot has.
    pub left: Identity,
    /// What the second has.
    pub right: Identity,
}

impl Snapshot {
    /// Takes in the other: every module of either, the larger class of every edge. Modules of two
    /// builds stay apart; ask [`Snapshot::conflicts`] first when that would be a mistake.
    pub fn merge(&mut self, other: &Snapshot) -> Gained {
        let mut gained = Gained::default();
        for theirs in &other.modules {
            match self.modules.binary_search_by(|ours| ours.id().key().cmp(&theirs.id().key())) {
                Ok(at) => gained += self.modules[at].merge(theirs),
                Err(at) => {
                    gained.edges += theirs.hits().len() as u64;
                    self.modules.insert(at, theirs.clone());
                }
            }
        }
        self.meta.merge(&other.meta);
        gained
    }

    /// Edges of either, with the larger class.
    pub fn union(&self, other: &Snapshot) -> Snapshot {
        let mut union = self.clone();
        union.merge(other);
        union
    }

    /// Edges of both, with the smaller class, in the modules of both.
    pub fn intersection(&self, other: &Snapshot) -> Snapshot {
        let both = self.modules.iter().filter_map(|ours| {
            let theirs = other.module(ours.id().key())?;
            let mut module = ours.with_hits(ours.hits().intersection(theirs.hits()));
            module.adopt_label(theirs);
            Some(module)
        });
        self.derived(other, both.collect())
    }

    /// Edges of this one that the other does not have at all, in the modules of this one. Metadata
    /// stays that of this one.
    pub fn difference(&self, other: &Snapshot) -> Snapshot {
        let left = self.modules.iter().map(|ours| match other.module(ours.id().key()) {
            Some(theirs) => ours.with_hits(ours.hits().difference(theirs.hits())),
            None => ours.clone(),
        });
        Snapshot { modules: left.collect(), meta: self.meta.clone() }
    }

    /// Edges that only one of both has, in the modules of either.
    pub fn symmetric_difference(&self, other: &Snapshot) -> Snapshot {
        let union = self.union(other);
        let none = Hits::default();
        let of = |snapshot: &'_ Snapshot, key: Key<'_>| snapshot.module(key).map_or(none.clone(), |m| m.hits().clone());
        let one = union.modules.iter().map(|module| {
            let key = module.id().key();
            module.with_hits(of(self, key).symmetric_difference(&of(other, key)))
        });
        self.derived(other, one.collect())
    }

    /// Whether the other has every edge of this one, in whatever class.
    pub fn is_subset(&self, other: &Snapshot) -> bool {
        self.modules.iter().all(|ours| match other.module(ours.id().key()) {
            Some(theirs) => ours.hits().is_subset(theirs.hits()),
            None => ours.hits().is_empty(),
        })
    }

    /// The things that were hit: modules, functions, or whatever `of` says an edge belongs to. Being
    /// sets, they have the same operations as snapshots.
    pub fn set_of<K: Ord>(&self, mut of: impl FnMut(&ModuleId, u32) -> Option<K>) -> BTreeSet<K> {
        let edges = self.modules.iter().flat_map(|module| module.hits().iter().map(|hit| (module.id(), hit.edge)));
        edges.filter_map(|(id, edge)| of(id, edge)).collect()
    }

    /// Libraries of which each has a build that the other lacks; see [`ModuleId::is_same_library`]. Builds that
    /// both have are in no conflict, and neither are libraries of one name in different packages.
    pub fn conflicts(&self, other: &Snapshot) -> Vec<Conflict> {
        let (ours, theirs) = (self.only_here(other), other.only_here(self));
        let mut conflicts = BTreeSet::new();
        for left in &ours {
            for right in theirs.iter().filter(|right| left.is_same_library(right)) {
                conflicts.insert((left.label().to_owned(), left.identity, right.identity));
            }
        }
        conflicts.into_iter().map(|(name, left, right)| Conflict { name, left, right }).collect()
    }

    /// The modules whose builds the other lacks.
    fn only_here(&self, other: &Snapshot) -> Vec<&ModuleId> {
        let theirs: BTreeSet<Identity> = other.modules.iter().map(|module| module.id().identity).collect();
        self.modules.iter().map(ModuleMap::id).filter(|id| !theirs.contains(&id.identity)).collect()
    }

    fn derived(&self, other: &Snapshot, modules: Vec<ModuleMap>) -> Snapshot {
        let mut meta = self.meta.clone();
        meta.merge(&other.meta);
        Snapshot { modules, meta }
    }
}

/// How many edges lie in which of up to three snapshots: `venn[0b101]` counts those of the first and
/// the third alone. Snapshots past the third are not looked at, and `venn[0]` is 0.
pub fn venn(snapshots: &[&Snapshot]) -> [u64; 8] {
    let mut modules: BTreeMap<Key<'_>, [&[super::Hit]; 3]> = BTreeMap::new();
    for (at, snapshot) in snapshots.iter().take(3).enumerate() {
        for module in &snapshot.modules {
            modules.entry(module.id().key()).or_default()[at] = module.hits();
        }
    }
    let mut counts = [0; 8];
    for mut rest in modules.into_values() {
        while let Some(edge) = rest.iter().filter_map(|hits| hits.first()).map(|hit| hit.edge).min() {
            let mut zone = 0;
            for (at, hits) in rest.iter_mut().enumerate() {
                if hits.first().is_some_and(|hit| hit.edge == edge) {
                    *hits = &hits[1..];
                    zone |= 1 << at;
                }
            }
            counts[zone] += 1;
        }
    }
    counts
}

/// How many edges of each thing lie in which of up to three snapshots: [`venn`], for each of the
/// modules, functions, or whatever `of` says an edge belongs to. Edges of nothing are left out.
pub fn venn_by<K: Ord>(
    snapshots: &[&Snapshot],
    mut of: impl FnMut(&ModuleId, u32) -> Option<K>,
) -> BTreeMap<K, [u64; 8]> {
    let mut modules: BTreeMap<Key<'_>, (&ModuleId, BTreeMap<u32, usize>)> = BTreeMap::new();
    for (at, snapshot) in snapshots.iter().take(3).enumerate() {
        for module in &snapshot.modules {
            let (_, edges) = modules.entry(module.id().key()).or_insert_with(|| (module.id(), BTreeMap::new()));
            module.hits().iter().for_each(|hit| *edges.entry(hit.edge).or_default() |= 1 << at);
        }
    }
    let mut counts: BTreeMap<K, [u64; 8]> = BTreeMap::new();
    for (id, edges) in modules.into_values() {
        for (edge, zone) in edges {
            if let Some(thing) = of(id, edge) {
                counts.entry(thing).or_default()[zone] += 1;
            }
        }
    }
    counts
}

/// How many of the things that [`venn_by`] counted lie in which snapshots: a function lies in each
/// that hit an edge of it.
pub fn venn_of<K: Ord>(counts: &BTreeMap<K, [u64; 8]>) -> [u64; 8] {
    let mut zones = [0; 8];
    for counts in counts.values() {
        let zone = (1..8).filter(|zone| counts[*zone] != 0).fold(0, |all, zone| all | zone);
        zones[zone] += 1;
    }
    zones
}
