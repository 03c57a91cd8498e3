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
    ModuleId {
        identity,
        kind: u32::from(number),
        edges: 40,
        path: format!("{place}/{name}"),
        name,
        below: String::new(),
    }
}

fn snapshot(modules: BTreeMap<u8, (String, BTreeMap<u32, u8>)>) -> Snapshot {
    let maps = modules.into_iter().map(|(number, (place, hits))| {
        let hits = hits.into_iter().map(|(edge, rank)| Hit { edge, class: 1 << rank }).collect();
        ModuleMap::new(id(number, &place), Hits::new(hits).unwrap()).unwrap()
    });
    let meta = Meta { created: 5, tool: "hitmap 0.1.0".into(), executions: 3, ..Meta::default() };
    Snapshot::new(maps.collect(), meta)
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

/// A module of this build in a folder, with one hit.
fn at(build: u8, path: &str, below: &str, edge: u32) -> ModuleMap {
    let name = path.rsplit('/').next().unwrap().to_owned();
    let identity = Identity::new(&[build; 4]);
    let id = ModuleId { identity, kind: 3, edges: 40, name, path: path.into(), below: below.into() };
    ModuleMap::new(id, Hits::new(vec![Hit { edge, class: 1 }]).unwrap()).unwrap()
}

#[test]
fn libraries_of_one_name_combine_and_builds_of_one_do_not() {
    let of = |modules: &[ModuleMap]| Snapshot::new(modules.to_vec(), Meta::default());
    let site = "/v/lib/python3.11/site-packages";
    let moved = "/w/lib/python3.12/site-packages";
    let (a, b) = (at(1, &format!("{site}/pa/_core.so"), "", 0), at(2, &format!("{site}/pb/_core.so"), "", 0));
    let other_b = |place: &str| at(3, &format!("{place}/pb/_core.so"), "", 0);
    let table = [
        (vec![a.clone()], vec![b.clone()], 0),
        (vec![a.clone(), b.clone()], vec![b.clone()], 0),
        // What both share does not hide what they do not.
        (vec![a.clone(), b.clone()], vec![a.clone(), other_b(site)], 1),
        (vec![a.clone(), b.clone()], vec![a.clone(), other_b(moved)], 1),
        (vec![b.clone()], vec![a.clone(), other_b(moved)], 1),
        (vec![at(1, "/t/pa/_core.so", "pa/_core.so", 0)], vec![at(2, "/t/pb/_core.so", "pb/_core.so", 0)], 0),
        (vec![at(1, "/t/pa/_core.so", "pa/_core.so", 0)], vec![at(2, "/u/pa/_core.so", "pa/_core.so", 0)], 1),
        (vec![at(1, "/t/pa/_core.so", "pa/_core.so", 0)], vec![at(1, "/u/pb/_core.so", "pb/_core.so", 0)], 0),
    ];
    for (one, other, conflicts) in table {
        let (one, other) = (of(&one), of(&other));
        assert_eq!(one.conflicts(&other).len(), conflicts, "{one:?}\n{other:?}");
        assert_eq!(other.conflicts(&one).len(), conflicts, "{other:?}\n{one:?}");
    }
    let told = of(&[a, b.clone()]).conflicts(&of(&[other_b(site)]))[0].to_string();
    assert!(told.starts_with("pb/_core.so is build 02020202"), "{told}");
}

#[test]
fn copies_of_one_library_are_one_module() {
    let snapshot =
        Snapshot::new(vec![at(1, "/a/x.so", "", 3), at(2, "/y.so", "", 0), at(1, "/b/x.so", "", 5)], Meta::default());
    assert_eq!((snapshot.modules().len(), snapshot.hits(), snapshot.total()), (2, 3, 80));
    assert_eq!(Snapshot::decode(&snapshot.encode()).as_ref(), Ok(&snapshot));
    let idle = ModuleMap::new(at(1, "/a/x.so", "", 0).id().clone(), Hits::default()).unwrap();
    let snapshot = Snapshot::new(vec![idle, at(1, "/b/x.so", "", 5)], Meta::default());
    assert_eq!(snapshot.modules()[0].id().path, "/b/x.so", "the copy that ran");
}

#[test]
fn where_a_library_lies_is_kept_in_files() {
    let (one, two) = (at(1, "/t/pa/_core.so", "pa/_core.so", 0), at(2, "/t/pb/_core.so", "pb/_core.so", 1));
    let extra = [("library".to_owned(), "09090909 of/another.so".to_owned()), ("seed".to_owned(), "1".to_owned())];
    let snapshot = Snapshot::new(vec![one, two], Meta { extra: extra.into(), ..Meta::default() });
    let bytes = snapshot.encode();
    let back = Snapshot::decode(&bytes).unwrap();
    assert_eq!(back, snapshot);
    assert_eq!(back.encode(), bytes);
    assert_eq!(back.meta.extra.len(), 2, "what fits no module stays");
    // A hitmap that knows nothing of it keeps it among the metadata, and so hands it on.
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("01010101 pa/_core.so") && text.contains("02020202 pb/_core.so"));
}

#[test]
fn another_build_is_named_on_both_sides() {
    let build = |number: u8, name: &str| {
        let id = ModuleId { identity: Identity::new(&[number; 4]), name: name.into(), ..id(0, "") };
        ModuleMap::new(id, Hits::default()).unwrap()
    };
    let of = |modules: &[ModuleMap]| Snapshot::new(modules.to_vec(), Meta::default());
    let (old, new) = (build(1, "libfoo.so"), build(2, "libfoo.so"));
    let conflicts = of(&[old.clone(), build(7, "same.so")]).conflicts(&of(&[new.clone(), build(7, "same.so")]));
    assert_eq!(conflicts.len(), 1);
    let told = conflicts[0].to_string();
    assert!(["libfoo.so", "01010101", "02020202"].iter().all(|part| told.contains(part)), "{told}");

    assert!(
        of(&[old.clone(), new.clone()]).conflicts(&of(std::slice::from_ref(&new))).is_empty(),
        "one has both builds"
    );
    assert_eq!(of(&[old.clone(), build(7, "x.so")]).conflicts(&of(&[new.clone(), build(7, "x.so")])).len(), 1);
    assert!(of(&[build(1, "")]).conflicts(&of(&[build(2, "")])).is_empty(), "programs without a name");
    assert_eq!(of(&[old]).union(&of(&[new])).total(), 80, "merging keeps builds apart");
}
