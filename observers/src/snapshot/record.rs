//! The frames of a feature log: modules, and entries that refer to them by number.
//!
//! A log is frames one after the other. A module frame introduces a module, the first one as number
//! 0; an entry says what one file of the queue covers, in numbers of modules that came before it. So
//! a log can be read by anyone from its beginning, grows by whole frames, and says each path once.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::module::WireId;
use super::{Hits, Malformed, ModuleId};
use crate::frame;

/// What one entry of the queue covers, and how it came about. The order of the fields is the format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureRecord {
    /// Its file name in `queue/`.
    pub name: String,
    /// The file names of what it was made from; none for a seed.
    pub parents: Vec<String>,
    /// Executions of this worker before it was found.
    pub found_execs: u64,
    /// Milliseconds since the campaign began.
    pub found_ms: u64,
    /// How long it ran, in nanoseconds.
    pub run_nanos: u64,
    /// The length of the input in bytes.
    pub len: u32,
    /// What it hits.
    pub hits: Vec<ModuleHits>,
    /// Whatever else: (key, value).
    pub extra: BTreeSet<(String, String)>,
}

/// The hits of one module within an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleHits {
    /// The module's number in this log.
    pub module: u32,
    /// Its edges that were hit.
    pub hits: Hits,
}

impl FeatureRecord {
    /// Checks that it refers to modules, and to edges that they have, each module once.
    ///
    /// # Errors
    /// [`Malformed::Unknown`], [`Malformed::Edge`], [`Malformed::Module`].
    pub fn check(&self, modules: &[ModuleId]) -> Result<(), Malformed> {
        let mut seen = BTreeSet::new();
        for part in &self.hits {
            let Some(id) = modules.get(part.module as usize) else {
                return Err(Malformed::Unknown { number: part.module, known: modules.len() });
            };
            if !seen.insert(part.module) {
                return Err(Malformed::Module { name: id.name.clone(), identity: id.identity });
            }
            if let Some(last) = part.hits.last().filter(|last| last.edge >= id.edges) {
                return Err(Malformed::Edge { name: id.name.clone(), edge: last.edge, edges: id.edges });
            }
        }
        Ok(())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let payload = postcard::to_allocvec(self).expect("lists of known length in memory always serialize");
        frame::encode(frame::ENTRY, &payload)
    }
}

pub(super) fn encode_module(id: &ModuleId) -> Vec<u8> {
    let payload = postcard::to_allocvec(&WireId::from(id)).expect("strings in memory always serialize");
    frame::encode(frame::MODULE, &payload)
}

/// Takes in one frame of a log: an entry is returned, a module is added to `modules`.
pub(super) fn take(kind: u8, payload: &[u8], modules: &mut Vec<ModuleId>) -> Result<Option<FeatureRecord>, Malformed> {
    match kind {
        frame::MODULE => {
            let id = ModuleId::try_from(whole::<WireId<'_>>(payload)?)?;
            if modules.iter().any(|known| known.key() == id.key()) {
                return Err(Malformed::Module { name: id.name, identity: id.identity });
            }
            modules.push(id);
            Ok(None)
        }
        frame::ENTRY => {
            let record: FeatureRecord = whole(payload)?;
            record.check(modules)?;
            Ok(Some(record))
        }
        frame::SKIPPABLE.. => Ok(None),
        found => Err(frame::FrameError::Kind { found, expected: frame::ENTRY }.into()),
    }
}

fn whole<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(payload)? {
        (value, []) => Ok(value),
        (_, unread) => Err(Malformed::Trailing { bytes: unread.len() }),
    }
}
