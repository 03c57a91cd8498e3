//! The module table as a child leaves it: believed where it makes sense.
//!
//! Owns the comparison with what the engine knows. What is done about it is its caller's business.

use hitmap_wire::PAGE;
use hitmap_wire::modules::{self, Module};
use hitmap_wire::region::Region;

/// What a look at the table shows.
#[derive(Debug, PartialEq, Eq)]
pub enum Table {
    /// All that is known, in its order, and what came since.
    Sound(Vec<Module>),
    /// A library did not fit.
    Full(Module),
    /// It was scribbled over.
    Mad,
}

/// Looks at the table of `region`, of which `known` was taken over before.
pub fn look(region: &Region, known: &[Module]) -> Table {
    // First, as a thread of the target may load a library now.
    let count = region.module_count();
    let seen = modules::all(region);
    let same =
        |(a, b): (&Module, &Module)| (a.identity, a.base, a.edges, a.kind) == (b.identity, b.base, b.edges, b.kind);
    let intact = seen.len() >= count.max(known.len()) && known.iter().zip(&seen).all(same);
    let mut next = known.iter().map(|m| m.range().end).max().unwrap_or(0);
    let orderly = seen.iter().skip(known.len()).filter(|m| !m.is_refused()).all(|module| {
        let after = module.base >= next;
        next = module.range().end;
        after
    });
    if !intact || !orderly {
        return Table::Mad;
    }
    let Some(refused) = seen.iter().find(|m| m.is_refused()) else { return Table::Sound(seen) };
    // Whoever was refused believed the header, which anybody can write.
    let pages = |edges: u32| u64::from(edges).next_multiple_of(PAGE as u64);
    let fits = pages(next).max(PAGE as u64) + pages(refused.edges) <= u64::from(region.layout().capacity);
    if fits { Table::Mad } else { Table::Full(refused.clone()) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use hitmap_wire::identity::Identity;
    use hitmap_wire::modules::COUNTERS;

    fn enter(region: &Region, name: &str, edges: u32) {
        let (identity, path) = (Identity::new(name.as_bytes()), format!("/lib/{name}.so"));
        let module = Module { identity, path, kind: COUNTERS, base: 0, edges, load_bias: 0, pc_table: 0 };
        let _ = modules::register(region, &module);
    }

    /// What is seen after one library of ten edges was taken over, and `then` happened; room is for two more pages.
    fn check(then: impl Fn(&Region), expect: impl Fn(&Table) -> bool) {
        let region = Region::private(3 * PAGE as u32).unwrap();
        enter(&region, "a", 10);
        let known = modules::all(&region);
        then(&region);
        let table = look(&region, &known);
        assert!(expect(&table), "{table:?}");
    }

    #[test]
    fn what_registered_is_taken_over() {
        check(|_| (), |table| matches!(table, Table::Sound(seen) if seen.len() == 1));
        check(|region| enter(region, "b", 5000), |table| matches!(table, Table::Sound(seen) if seen[1].edges == 5000));
    }

    #[test]
    fn a_library_that_does_not_fit_is_told() {
        let full = |table: &Table| matches!(table, Table::Full(module) if module.name() == "b.so");
        check(|region| enter(region, "b", 8193), full);
        let small_later = |region: &Region| {
            enter(region, "b", 8193);
            enter(region, "c", 8192);
        };
        check(small_later, full);
    }

    #[test]
    fn what_makes_no_sense_is_not_believed() {
        let mad = |table: &Table| *table == Table::Mad;
        let next = |edge| move |region: &Region| region.header().next_edge.store(edge, Ordering::Relaxed);
        let refused_although_it_fits = |region: &Region| {
            next(u32::MAX - 4095)(region);
            enter(region, "b", 8192);
        };
        check(refused_although_it_fits, mad);
        let over_another = |region: &Region| {
            next(4096)(region);
            enter(region, "b", 10);
        };
        check(over_another, mad);
        check(|region| region.header().module_count.store(0, Ordering::Relaxed), mad);
        check(|region| region.header().module_count.store(u32::MAX, Ordering::Relaxed), mad);
        // SAFETY: the test owns the region.
        check(|region| unsafe { region.records().cast::<u8>().write_bytes(0xFF, 512) }, mad);
    }
}
