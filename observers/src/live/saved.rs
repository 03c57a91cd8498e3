//! Between a live map's history and snapshots.
//!
//! An edge of the region is a module's base and a number from 0 on; a snapshot knows the module by its
//! identity. Saves nothing itself: [`Snapshot::save`] and [`Snapshot::load`] do.

use hitmap_wire::modules::Module;

use super::LiveMap;
use crate::history::History;
use crate::snapshot::{Hit, Hits, Malformed, Meta, ModuleId, ModuleMap, Snapshot};

impl LiveMap {
    /// What `history` has of this map's libraries.
    ///
    /// # Errors
    /// [`Malformed`] when the module table was scribbled over.
    pub fn snapshot(&self, history: &History, meta: Meta) -> Result<Snapshot, Malformed> {
        let maps = self.modules().into_iter().map(|module| {
            let classes = history.classes().get(module.base as usize..).unwrap_or_default();
            let hits = (0..module.edges).zip(classes).filter(|(_, class)| **class != 0);
            Hits::new(hits.map(|(edge, class)| Hit { edge, class: *class }).collect())
                .and_then(|hits| ModuleMap::new(ModuleId::from(&module), hits))
        });
        Ok(Snapshot::new(maps.collect::<Result<_, _>>()?, meta))
    }

    /// Raises `history` to what a snapshot has, as far as its libraries are in this map. Gives the
    /// libraries that are not: they may be loaded later, when this can be called again, or be other
    /// builds, whose edges mean other things.
    pub fn seed(&self, history: &mut History, snapshot: &Snapshot) -> Vec<ModuleId> {
        let here = self.modules();
        let mut missing = Vec::new();
        for map in snapshot.modules() {
            let key = map.id().key();
            let same = |module: &&Module| ModuleId::from(*module).key() == key;
            match here.iter().find(same) {
                Some(module) => map.hits().iter().for_each(|hit| history.raise(module.base + hit.edge, hit.class)),
                None => missing.push(map.id().clone()),
            }
        }
        missing
    }
}
