//! Snapshots as sets: the laws of their algebra, against plain maps as the naive version.

use std::collections::{BTreeMap, BTreeSet};

use hitmap_observers::snapshot::{Gained, Hit, Hits, Meta, ModuleId, ModuleMap, Snapshot, venn, venn_by, venn_of};
use hitmap_wire::identity::Identity;
use proptest::prelude::*;

/// (module, edge) to class.
type Naive = BTreeMap<(u8, u32), u8>;

fn id(number: u8, place: &str) -> ModuleId {
    // Numbers 2 and 3 are one library, instrumented in two ways.
    let identity = Identity::new(&[number.min(2) + 1; 20]);
    let name = format!("lib{}.so", number.min(2));
    ModuleId { identity, kind: u32::from(number), edges: 40, path: format!("{place}/{name}"), name }
}

fn snapshot(modules: BTreeMap<u8, (String, BTreeMap<u32, u8>)>) -> Snapshot {
    let maps = modules.into_iter().map(|(number, (place, hits))| {
        let hits = hits.into_iter().map(|(edge, rank)| Hit { edge, class: 1 << rank }).collect();
        ModuleMap::new(id(number, &place), Hits::new(hits).unwrap()).unwrap()
    });
    let meta = Meta { created: 5, tool: "hitmap 0.1.0".into(), executions: 3, ..Meta::default() };
    Snapshot::new(maps.collect(), meta).unwrap()
}

prop_compose! {
    fn any_snapshot()(modules in prop::collection::btree_map(
        0u8..4,
        ("[ab]{0,2}", prop::collection::btree_map(0u32..40, 0u8..8, 0..20)),
        0..4,
    )) -> Snapshot {
        snapshot(modules)
    }
}

fn naive(snapshot: &Snapshot) -> Naive {
    let hits = snapshot.modules().iter().flat_map(|module| {
        let number = module.id().kind as u8;
        module.hits().iter().map(move |hit| ((number, hit.edge), hit.class))
    });
    hits.collect()
}

fn union(a: &Naive, b: &Naive) -> Naive {
    let mut all = a.clone();
    b.iter().for_each(|(edge, class)| {
        let old = all.entry(*edge).or_default();
        *old = (*old).max(*class);
    });
    all
}

fn keep(a: &Naive, keep: impl Fn(&(u8, u32)) -> bool) -> Naive {
    a.iter().filter(|(edge, _)| keep(edge)).map(|(edge, class)| (*edge, *class)).collect()
}

/// The bytes of the modules alone.
fn bytes(snapshot: &Snapshot) -> Vec<u8> {
    let mut bare = snapshot.clone();
    bare.meta = Meta::default();
    bare.encode()
}

proptest! {
    #[test]
    fn operations_agree_with_plain_maps(a in any_snapshot(), b in any_snapshot(), c in any_snapshot()) {
        let (x, y, z) = (naive(&a), naive(&b), naive(&c));
        prop_assert_eq!(naive(&a.union(&b)), union(&x, &y));
        let both: Naive = keep(&x, |edge| y.contains_key(edge)).into_iter().map(|(e, class)| (e, class.min(y[&e]))).collect();
        prop_assert_eq!(naive(&a.intersection(&b)), both);
        prop_assert_eq!(naive(&a.difference(&b)), keep(&x, |edge| !y.contains_key(edge)));
        let one = union(&keep(&x, |edge| !y.contains_key(edge)), &keep(&y, |edge| !x.contains_key(edge)));
        prop_assert_eq!(naive(&a.symmetric_difference(&b)), one);
        prop_assert_eq!(a.is_subset(&b), x.keys().all(|edge| y.contains_key(edge)));
        prop_assert_eq!(a.hits(), x.len() as u64);
        prop_assert_eq!(a.counts().iter().sum::<u64>(), a.hits());

        let mut zones = [0; 8];
        let edges: BTreeSet<_> = x.keys().chain(y.keys()).chain(z.keys()).collect();
        for edge in edges {
            let inside = [&x, &y, &z].map(|set| usize::from(set.contains_key(edge)));
            zones[inside[0] | inside[1] << 1 | inside[2] << 2] += 1;
        }
        prop_assert_eq!(venn(&[&a, &b, &c]), zones);
    }

    #[test]
    fn merging_commutes_associates_and_repeats_to_the_byte(a in any_snapshot(), b in any_snapshot(), c in any_snapshot()) {
        prop_assert_eq!(a.union(&b).encode(), b.union(&a).encode());
        prop_assert_eq!(a.union(&b).union(&c).encode(), a.union(&b.union(&c)).encode());
        prop_assert_eq!(bytes(&a.union(&a)), bytes(&a));
        prop_assert_eq!(bytes(&a.union(&b).union(&b)), bytes(&a.union(&b)));
    }

    #[test]
    fn sets_relate_as_sets_do(a in any_snapshot(), b in any_snapshot()) {
        prop_assert!(a.is_subset(&a.union(&b)) && a.intersection(&b).is_subset(&a) && a.difference(&b).is_subset(&a));
        prop_assert_eq!(a.difference(&b).hits() == 0, a.is_subset(&b));
        prop_assert_eq!(a.union(&b).hits(), a.hits() + b.difference(&a).hits());
        prop_assert_eq!(bytes(&a.intersection(&b)), bytes(&b.intersection(&a)));
        prop_assert_eq!(bytes(&a.symmetric_difference(&b)), bytes(&b.symmetric_difference(&a)));
        let absorbed = a.union(&a.intersection(&b));
        prop_assert_eq!(naive(&absorbed), naive(&a));
    }

    #[test]
    fn merging_says_what_it_gained(a in any_snapshot(), b in any_snapshot()) {
        let (x, y) = (naive(&a), naive(&b));
        let mut merged = a.clone();
        let gained = merged.merge(&b);
        let edges = y.keys().filter(|edge| !x.contains_key(edge)).count() as u64;
        let classes = y.iter().filter(|(edge, class)| x.get(edge).is_some_and(|old| old < class)).count() as u64;
        prop_assert_eq!(gained, Gained { edges, classes });
        prop_assert_eq!(merged.merge(&b), Gained::default());
    }

    #[test]
    fn sets_of_things_agree_with_sets_of_edges(a in any_snapshot(), b in any_snapshot(), c in any_snapshot()) {
        let edge = |id: &ModuleId, edge| Some((id.kind, edge));
        // Seven edges a function, and some edges without one.
        let function = |id: &ModuleId, edge: u32| (!edge.is_multiple_of(5)).then_some((id.kind, edge / 7));
        let module = |id: &ModuleId, _| Some(id.kind);
        prop_assert_eq!(venn_of(&venn_by(&[&a, &b, &c], edge)), venn(&[&a, &b, &c]));
        prop_assert_eq!(a.intersection(&b).set_of(edge), &a.set_of(edge) & &b.set_of(edge));
        prop_assert_eq!(a.difference(&b).set_of(edge), &a.set_of(edge) - &b.set_of(edge));
        prop_assert_eq!(a.symmetric_difference(&b).set_of(edge), &a.set_of(edge) ^ &b.set_of(edge));
        prop_assert_eq!(a.is_subset(&b), a.set_of(edge).is_subset(&b.set_of(edge)));
        prop_assert_eq!(a.union(&b).set_of(function), &a.set_of(function) | &b.set_of(function));
        prop_assert_eq!(a.union(&b).set_of(module), &a.set_of(module) | &b.set_of(module));

        let (x, y, z) = (a.set_of(function), b.set_of(function), c.set_of(function));
        let counts = venn_by(&[&a, &b, &c], function);
        prop_assert_eq!(counts.keys().copied().collect::<BTreeSet<_>>(), &(&x | &y) | &z);
        let zones = venn_of(&counts);
        prop_assert_eq!(zones[0b001], (&(&x - &y) - &z).len() as u64);
        prop_assert_eq!(zones[0b110], (&(&y & &z) - &x).len() as u64);
        prop_assert_eq!(zones[0b111], (&(&x & &y) & &z).len() as u64);
        let edges: u64 = counts.values().flatten().sum();
        prop_assert_eq!(edges, venn_by(&[&a, &b, &c], |id, at| edge(id, at).filter(|_| !at.is_multiple_of(5))).len() as u64);
    }

    #[test]
    fn bytes_come_back_as_they_were(a in any_snapshot()) {
        let bytes = a.encode();
        let back = Snapshot::decode(&bytes).unwrap();
        prop_assert_eq!(&back, &a);
        prop_assert_eq!(back.encode(), bytes);
    }
}

#[test]
fn metadata_follows_its_rule() {
    let meta = |created, tool: &str, harness: &str, executions, extra: (&str, &str)| Meta {
        created,
        tool: tool.into(),
        harness: harness.into(),
        executions,
        extra: [(extra.0.into(), extra.1.into())].into(),
    };
    let mut a = meta(10, "hitmap 0.1.0", "json.py:parse", 5, ("seed", "1"));
    let b = meta(20, "hitmap 0.1.1", "csv.py:read\njson.py:parse", 7, ("seed", "2"));
    a.merge(&b);
    assert_eq!((a.created, a.tool.as_str(), a.executions), (20, "hitmap 0.1.1", 12));
    assert_eq!(a.harness, "csv.py:read\njson.py:parse");
    assert_eq!(a.values("seed").collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn another_build_is_named_on_both_sides() {
    let build = |number: u8, name: &str| {
        let id = ModuleId { identity: Identity::new(&[number; 4]), name: name.into(), ..id(0, "") };
        ModuleMap::new(id, Hits::default()).unwrap()
    };
    let of = |modules: &[ModuleMap]| Snapshot::new(modules.to_vec(), Meta::default()).unwrap();
    let (old, new) = (build(1, "libfoo.so"), build(2, "libfoo.so"));
    let conflicts = of(&[old.clone(), build(7, "same.so")]).conflicts(&of(&[new.clone(), build(7, "same.so")]));
    assert_eq!(conflicts.len(), 1);
    let told = conflicts[0].to_string();
    assert!(["libfoo.so", "01010101", "02020202"].iter().all(|part| told.contains(part)), "{told}");

    assert!(
        of(&[old.clone(), new.clone()]).conflicts(&of(std::slice::from_ref(&new))).is_empty(),
        "one has both builds"
    );
    assert!(of(&[build(1, "")]).conflicts(&of(&[build(2, "")])).is_empty(), "programs without a name");
    assert_eq!(of(&[old]).union(&of(&[new])).total(), 80, "merging keeps builds apart");
}
