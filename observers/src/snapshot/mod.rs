//! Owned maps that are saved, merged, compared and loaded, on one machine or many.
//!
//! A [`Snapshot`] holds, for every module of a map, which edges were hit and how often, under names
//! that are the same on every machine. A feature log ([`FeatureLog`], [`FeatureReader`]) says what
//! each entry of a queue covers. Both are bytes in checked [`crate::frame`]s; `docs/format.md` has
//! every one of them. Knows nothing of regions, of LibAFL, or of what a build changed.
//!
//! Whatever is read is checked before it is believed: a file that was cut, flipped or forged gives
//! an error that says which file and what is wrong, and costs no more memory than its own size times
//! a constant.

mod algebra;
mod error;
mod file;
mod hits;
mod library;
mod log;
mod meta;
mod module;
mod record;

pub use algebra::{Conflict, Gained, venn, venn_by, venn_of};
pub use error::{FileError, Malformed, Problem};
pub use file::LARGEST;
pub use hits::{Hit, Hits};
pub use library::below_root;
pub use log::{FeatureLog, FeatureReader, Repair};
pub use meta::Meta;
pub use module::{Key, ModuleId, ModuleMap};
pub use record::{FeatureRecord, ModuleHits};

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::frame;
use module::WireId;

/// An owned map: modules in the order of their [`Key`], each with its hits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    modules: Vec<ModuleMap>,
    /// Where it comes from.
    pub meta: Meta,
}

impl Snapshot {
    /// A snapshot of modules in any order. A process may have loaded several copies of a library; they are one
    /// module, which has what any of them hit, and the label of a copy that was hit.
    pub fn new(mut modules: Vec<ModuleMap>, meta: Meta) -> Snapshot {
        modules.sort_by(|a, b| a.id().key().cmp(&b.id().key()));
        modules.dedup_by(|copy, kept| {
            let same = copy.id().key() == kept.id().key();
            if same && kept.hits().is_empty() && !copy.hits().is_empty() {
                std::mem::swap(copy, kept);
            } else if same && !copy.hits().is_empty() {
                kept.merge(copy);
            }
            same
        });
        Snapshot { modules, meta }
    }

    /// Its modules, in the order of their [`Key`].
    pub fn modules(&self) -> &[ModuleMap] {
        &self.modules
    }

    /// The module with this key.
    pub fn module(&self, key: Key<'_>) -> Option<&ModuleMap> {
        self.modules.binary_search_by(|module| module.id().key().cmp(&key)).ok().map(|at| &self.modules[at])
    }

    /// How many edges were hit.
    pub fn hits(&self) -> u64 {
        self.modules.iter().map(|module| module.hits().len() as u64).sum()
    }

    /// How many edges there are.
    pub fn total(&self) -> u64 {
        self.modules.iter().map(|module| u64::from(module.id().edges)).sum()
    }

    /// How many edges have each hit class, from class 1 to class 128.
    pub fn counts(&self) -> [u64; 8] {
        let mut counts = [0; 8];
        for hit in self.modules.iter().flat_map(ModuleMap::hits) {
            counts[hit.class.ilog2() as usize] += 1;
        }
        counts
    }

    /// Its bytes, as they stand in a file.
    pub fn encode(&self) -> Vec<u8> {
        let modules = self.modules.iter().map(|m| WireModule { id: m.id().into(), hits: Cow::Borrowed(m.hits()) });
        let mut meta = Cow::Borrowed(&self.meta);
        for pair in self.modules.iter().filter_map(|module| library_pair(module.id())) {
            meta.to_mut().extra.insert(pair);
        }
        let wire = WireSnapshot { meta, modules: modules.collect() };
        let payload = postcard::to_allocvec(&wire).expect("lists of known length in memory always serialize");
        frame::encode(frame::SNAPSHOT, &payload)
    }

    /// Reads what [`Snapshot::encode`] wrote.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Snapshot, Malformed> {
        let (payload, rest) = frame::decode(bytes, frame::SNAPSHOT)?;
        check_skippable(rest)?;
        let (wire, unread): (WireSnapshot<'_>, _) = postcard::take_from_bytes(payload)?;
        if !unread.is_empty() {
            return Err(Malformed::Trailing { bytes: unread.len() });
        }
        let modules = wire
            .modules
            .into_iter()
            .map(|module| ModuleMap::new(module.id.try_into()?, module.hits.into_owned()))
            .collect::<Result<Vec<_>, _>>()?;
        check_order(&modules)?;
        let mut snapshot = Snapshot { modules, meta: wire.meta.into_owned() };
        snapshot.take_libraries();
        Ok(snapshot)
    }

    /// Gives modules what the metadata of a file says of where they lie. What fits no module stays where it is.
    fn take_libraries(&mut self) {
        let mut taken = Vec::new();
        for (_, value) in self.meta.extra.iter().filter(|(key, _)| key == LIBRARY) {
            let Some((identity, below)) = value.split_once(' ') else { continue };
            let fits =
                |id: &ModuleId| id.below.is_empty() && id.identity.to_string() == identity && is_below(below, id);
            for module in self.modules.iter_mut().filter(|module| fits(module.id())) {
                module.id_mut().below = below.to_owned();
                taken.extend(library_pair(module.id()));
            }
        }
        self.meta.extra.retain(|pair| !taken.contains(pair));
    }
}

/// The key of a pair in a file's metadata that says where a module lies below the folder that it is imported
/// from: `IDENTITY pa/_core.so`. The module itself has no field for it.
const LIBRARY: &str = "library";

fn library_pair(id: &ModuleId) -> Option<(String, String)> {
    is_below(&id.below, id).then(|| (LIBRARY.to_owned(), format!("{} {}", id.identity, id.below)))
}

fn is_below(below: &str, id: &ModuleId) -> bool {
    below.rsplit_once('/').is_some_and(|(folder, name)| !folder.is_empty() && name == id.name)
}

/// Whether `bytes` are nothing but sound frames that a later version allows us to skip.
fn check_skippable(mut bytes: &[u8]) -> Result<(), Malformed> {
    while !bytes.is_empty() {
        match frame::decode_any(bytes) {
            Ok((frame::SKIPPABLE.., _, rest)) => bytes = rest,
            Ok(_) | Err(frame::FrameError::NotHitmap) => return Err(Malformed::Trailing { bytes: bytes.len() }),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn check_order(modules: &[ModuleMap]) -> Result<(), Malformed> {
    match modules.windows(2).find(|pair| pair[0].id().key() >= pair[1].id().key()) {
        Some(pair) => Err(Malformed::Module { name: pair[1].id().name.clone(), identity: pair[1].id().identity }),
        None => Ok(()),
    }
}

/// A [`Snapshot`] as it stands in files. The order of the fields is the format.
#[derive(Serialize, Deserialize)]
struct WireSnapshot<'a> {
    meta: Cow<'a, Meta>,
    #[serde(borrow)]
    modules: Vec<WireModule<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireModule<'a> {
    #[serde(borrow)]
    id: WireId<'a>,
    hits: Cow<'a, Hits>,
}
