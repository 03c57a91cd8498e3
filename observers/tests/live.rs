//! What the observers say of a live map, however the target counts.

mod target;

use hitmap_observers::snapshot::Meta;
use hitmap_observers::{ComparisonObserver, EdgeObserver, History, LiveMap, MapError, Snapshot};
use hitmap_wire::comparisons::{Comparison, INTEGER, Log, OPERAND};
use libafl::HasMetadata;
use libafl::executors::ExitKind;
use libafl::inputs::NopInput;
use libafl::observers::cmp::{CmpValues, CmpValuesMetadata};
use libafl::observers::{HitcountsMapObserver, MapObserver, Observer};
use libafl::state::{HasExecutions, NopState};
use target::{INLINE, JOURNAL, Target};

fn hits(observer: &EdgeObserver) -> Vec<(u32, u8)> {
    let mut hits: Vec<_> = observer.run().hits().collect();
    hits.sort_unstable();
    hits
}

/// Maps that can be joined; the named one keeps its name until the test is through.
fn joinable(what: &str) -> Vec<LiveMap> {
    let name = format!("/hitmap-observers-{what}-{}", std::process::id());
    let running = LiveMap::of_children(100_000).and_then(LiveMap::running);
    [LiveMap::of_children(100_000), running, LiveMap::named(&name, 100_000)].into_iter().map(|m| m.unwrap()).collect()
}

#[test]
fn a_run_is_what_was_touched_in_it() {
    for map in joinable("runs") {
        for kind in [INLINE, JOURNAL] {
            let mut observer = EdgeObserver::new("edges", &map).unwrap();
            let target = Target::join(&map);
            let module = target.load(&format!("runs{kind}"), kind, 5000).unwrap();
            target.hit(&module, 1, 1);
            observer.clear().unwrap();
            target.hit(&module, 0, 1);
            target.hit(&module, 4999, 5);
            observer.take().unwrap();
            assert_eq!(hits(&observer), [(module.base, 1), (module.base + 4999, 8)]);
            assert_eq!(observer.get(module.base as usize + 4999), 8);
            assert_eq!((observer.count_bytes(), observer.usable_count()), (2, map.len()));
            observer.take().unwrap();
            assert_eq!(hits(&observer), []);
        }
        map.remove().unwrap();
    }
}

#[test]
fn a_map_grows_when_a_library_is_loaded_late() {
    for map in joinable("grows") {
        let mut observer = EdgeObserver::new("edges", &map).unwrap();
        let target = Target::join(&map);
        let first = target.load("first", INLINE, 10).unwrap();
        observer.clear().unwrap();
        assert_eq!(observer.usable_count(), 8192 - 4096);
        target.hit(&first, 3, 1);
        // In the middle of a run.
        let late = target.load("late", JOURNAL, 10).unwrap();
        target.hit(&late, 4, 2);
        observer.take().unwrap();
        assert_eq!(hits(&observer), [(first.base + 3, 1), (late.base + 4, 2)]);
        assert_eq!(observer.to_vec().len(), 3 * 4096);
        map.remove().unwrap();
    }
}

#[test]
fn edges_do_not_move_when_the_target_starts_again() {
    let name = format!("/hitmap-observers-restart-{}", std::process::id());
    let map = LiveMap::named(&name, 100_000).unwrap();
    let mut observer = EdgeObserver::new("edges", &map).unwrap();
    for order in [["a", "b"], ["b", "a"]] {
        let target = Target::join(&map);
        let modules = order.map(|name| target.load(name, INLINE, 10).unwrap());
        let a = modules.iter().find(|module| module.name() == "a.so").unwrap();
        observer.clear().unwrap();
        target.hit(a, 7, 1);
        observer.take().unwrap();
        assert_eq!(hits(&observer), [(4096 + 7, 1)]);
    }
    // And when the fuzzer does.
    drop((observer, map));
    let map = LiveMap::named(&name, 100_000).unwrap();
    assert_eq!(map.modules().len(), 2);
    map.remove().unwrap();
}

#[test]
fn between_runs_the_map_is_cleared_only_when_somebody_ran_the_target() {
    let map = LiveMap::of_children(100_000).unwrap();
    let mut observer = EdgeObserver::new("edges", &map).unwrap();
    let target = Target::join(&map);
    let module = target.load("a", INLINE, 10).unwrap();
    let mut state: NopState<NopInput> = NopState::new();
    let mut run = |observer: &mut EdgeObserver, before: bool, local: u32| {
        if before {
            // Another executor of the same fuzzer, which has no observer of edges.
            *state.executions_mut() += 1;
            target.hit(&module, 9, 1);
        }
        observer.pre_exec(&mut state, &NopInput {}).unwrap();
        *state.executions_mut() += 1;
        target.hit(&module, local, 1);
        observer.post_exec(&mut state, &NopInput {}, &ExitKind::Ok).unwrap();
        hits(observer)
    };
    assert_eq!(run(&mut observer, true, 1), [(4096 + 1, 1)]);
    assert_eq!(run(&mut observer, false, 2), [(4096 + 2, 1)]);
    assert_eq!(run(&mut observer, true, 3), [(4096 + 3, 1)]);
}

#[test]
fn a_map_has_one_reader() {
    let map = LiveMap::of_children(10_000).unwrap();
    let first = EdgeObserver::new("edges", &map).unwrap();
    assert!(matches!(EdgeObserver::new("edges", &map), Err(MapError::Taken)));
    drop(first);
    assert!(EdgeObserver::new("edges", &map).is_ok());
}

#[test]
fn a_library_that_does_not_fit_is_an_error_that_says_what_would() {
    let map = LiveMap::of_children(4096).unwrap();
    let mut observer = EdgeObserver::new("edges", &map).unwrap();
    let target = Target::join(&map);
    target.load("small", INLINE, 10).unwrap();
    target.load("big", INLINE, 5000).unwrap_err();
    let error = observer.take().unwrap_err().to_string();
    assert!(error.starts_with("big.so brings 5000 edges") && error.contains("map full: 0 edges left"), "{error}");
}

#[test]
fn a_mad_target_cannot_make_the_reader_leave_the_map() {
    let map = LiveMap::of_children(10_000).unwrap();
    let mut observer = EdgeObserver::new("edges", &map).unwrap();
    let target = Target::join(&map);
    let module = target.load("a", JOURNAL, 10).unwrap();
    for next in [0, 1, 4096, u32::MAX] {
        target.region.header().next_edge.store(next, std::sync::atomic::Ordering::Relaxed);
        target.region.push_journal(u32::MAX);
        target.hit(&module, 3, 1);
        observer.take().unwrap();
        assert_eq!(hits(&observer), [(4096 + 3, 1)]);
        assert!(observer.to_vec().len() <= map.capacity() as usize);
    }
}

#[test]
fn an_observer_travels_as_a_record() {
    let map = LiveMap::of_children(10_000).unwrap();
    let mut observer = EdgeObserver::new("edges", &map).unwrap();
    let target = Target::join(&map);
    let module = target.load("a", INLINE, 100).unwrap();
    target.hit(&module, 64, 2);
    observer.take().unwrap();
    let bytes = postcard::to_allocvec(&observer).unwrap();
    let mut there: EdgeObserver = postcard::from_bytes(&bytes).unwrap();
    assert_eq!((hits(&there), there.to_vec()), (hits(&observer), observer.to_vec()));
    there.take().unwrap();
    assert_eq!(hits(&there), []);
}

#[test]
fn a_history_goes_into_a_snapshot_and_comes_back() {
    let map = LiveMap::of_children(100_000).unwrap();
    let target = Target::join(&map);
    let module = target.load("a", INLINE, 10).unwrap();
    let mut history = History::new(map.capacity()).unwrap();
    history.raise(module.base + 3, 8);
    history.raise(4000, 8);
    let snapshot = map.snapshot(&history, Meta::default()).unwrap();
    let snapshot = Snapshot::decode(&snapshot.encode()).unwrap();
    assert_eq!((snapshot.hits(), snapshot.total()), (1, 10));
    // Elsewhere, where another library came first.
    let other = LiveMap::of_children(100_000).unwrap();
    let mut seeded = History::new(other.capacity()).unwrap();
    let target = Target::join(&other);
    target.load("b", JOURNAL, 10).unwrap();
    assert_eq!(other.seed(&mut seeded, &snapshot)[0].name, "a.so");
    let moved = target.load("a", INLINE, 10).unwrap();
    assert_eq!(other.seed(&mut seeded, &snapshot), []);
    assert_eq!((seeded.covered(), seeded.class(moved.base + 3)), (1, 8));
}

#[test]
fn libafls_own_observer_sees_the_same_classes() {
    let map = LiveMap::of_children(100_000).unwrap();
    let target = Target::join(&map);
    let module = target.load("a", INLINE, 10).unwrap();
    // SAFETY: the target is called between resets and looks, and there is one observer.
    let mut stock = HitcountsMapObserver::new(unsafe { map.stock_observer("edges").unwrap() });
    assert!(matches!(EdgeObserver::new("edges", &map), Err(MapError::Taken)));
    let mut state: NopState<NopInput> = NopState::new();
    target.hit(&module, 1, 1);
    stock.pre_exec(&mut state, &NopInput {}).unwrap();
    target.hit(&module, 3, 5);
    stock.post_exec(&mut state, &NopInput {}, &ExitKind::Ok).unwrap();
    let set: Vec<_> = stock.to_vec().into_iter().enumerate().filter(|(_, class)| *class != 0).collect();
    assert_eq!(set, [((module.base - 4096) as usize + 3, 8)]);
}

#[test]
fn comparisons_of_a_run_reach_the_state() {
    let map = LiveMap::of_children(10_000).unwrap();
    let mut observer = ComparisonObserver::new("comparisons", &map);
    let target = Target::join(&map);
    let mut state = libafl::state::StdState::<
        libafl::corpus::InMemoryCorpus<NopInput>,
        NopInput,
        libafl_bolts::rands::StdRand,
        libafl::corpus::InMemoryCorpus<NopInput>,
    >::new(
        libafl_bolts::rands::StdRand::with_seed(1),
        libafl::corpus::InMemoryCorpus::new(),
        libafl::corpus::InMemoryCorpus::new(),
        &mut (),
        &mut (),
    )
    .unwrap();
    for (right, expect) in [(7u32, Some(7)), (9, Some(9))] {
        observer.pre_exec(&mut state, &NopInput {}).unwrap();
        write_comparison(target.region.comparisons(), 1, right);
        observer.post_exec(&mut state, &NopInput {}, &ExitKind::Ok).unwrap();
        write_comparison(target.region.comparisons(), 2, 2);
        let list = &state.metadata::<CmpValuesMetadata>().unwrap().list;
        assert_eq!(list.first(), expect.map(|right| CmpValues::U32((1, right, false))).as_ref());
        assert_eq!(list.len(), 1);
    }
}

/// What the callback of a comparison build does.
fn write_comparison(log: &Log, left: u32, right: u32) {
    use std::sync::atomic::Ordering::Relaxed;
    if log.on.load(Relaxed) == 0 {
        return;
    }
    let at = log.count.fetch_add(1, Relaxed) as usize;
    let wide = |value: u32| std::array::from_fn(|i| value.to_le_bytes().get(i).copied().unwrap_or(0));
    let (left, right): ([u8; OPERAND], [u8; OPERAND]) = (wide(left), wide(right));
    let entry = Comparison { site: 1, kind: INTEGER, constant: 0, left_len: 4, right_len: 4, reserved: 0, left, right };
    // SAFETY: the entry lies in the log, which is shared memory and nobody reads meanwhile.
    unsafe { log.entries.as_ptr().cast_mut().add(at).write(entry) };
}
