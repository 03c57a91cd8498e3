//! Edges folded to functions.
//!
//! The compiler numbers a library's edges function by function and flags the first of each in the table
//! of addresses, which is read from the library's file. Owns the list of first edges of every library
//! seen so far.

use std::ops::Range;

use hitmap_wire::modules::Module;

use crate::observer::Hit;
use crate::places::{Library, PlacesError};
use crate::snapshot::ModuleId;

/// The first edges of functions.
#[derive(Debug, Default)]
pub(super) struct Functions {
    libraries: Vec<(Range<u32>, Vec<u32>)>,
}

impl Functions {
    /// Looks into the files of libraries that are not known yet.
    pub(super) fn learn(&mut self, modules: &[Module]) -> Result<(), PlacesError> {
        for module in modules {
            let range = module.range();
            if self.libraries.iter().any(|(known, _)| *known == range) {
                continue;
            }
            let library = Library::of(&ModuleId::from(module))?;
            let entries = (0..module.edges).filter(|local| library.is_entry(*local));
            self.libraries.push((range, entries.map(|local| module.base + local).collect()));
        }
        Ok(())
    }

    /// The functions of these edges, by rising edge.
    pub(super) fn fold(&self, mut hits: Vec<Hit>) -> Vec<Hit> {
        hits.sort_unstable();
        let mut folded: Vec<Hit> = Vec::new();
        for (edge, class) in hits {
            let Some(entry) = self.entry_of(edge) else { continue };
            // The first edge comes first, and says how often the function was entered.
            if folded.last().is_none_or(|(last, _)| *last != entry) {
                folded.push((entry, if edge == entry { class } else { 1 }));
            }
        }
        folded
    }

    fn entry_of(&self, edge: u32) -> Option<u32> {
        let (_, entries) = self.libraries.iter().find(|(range, _)| range.contains(&edge))?;
        entries[..entries.partition_point(|entry| *entry <= edge)].last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_count_for_the_function_that_holds_them() {
        let libraries = vec![(4096..4106, vec![4096, 4099, 4100]), (8192..8195, vec![8193])];
        let functions = Functions { libraries };
        for (hits, expect) in [
            (vec![(4098, 4), (4096, 2)], vec![(4096, 2)]),
            (vec![(4098, 4)], vec![(4096, 1)]),
            (vec![(4105, 128), (4099, 1), (8194, 2)], vec![(4099, 1), (4100, 1), (8193, 1)]),
            (vec![(8192, 1), (1, 1), (4106, 1)], vec![]),
        ] {
            assert_eq!(functions.fold(hits.clone()), expect, "{hits:?}");
        }
    }
}
