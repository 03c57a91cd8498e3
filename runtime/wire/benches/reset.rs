//! What it costs to read and clear the map after a run: 500 edges touched, in clusters, as calls of
//! small functions leave them, and everything warm. Prints nanoseconds, a line for each case.
//!
//! `cargo bench -p hitmap-wire`, with a part of a case's name for that case alone; the rows of
//! `make bench` come from here.

use std::sync::atomic::Ordering;
use std::time::Instant;

use hitmap_wire::PAGE;
use hitmap_wire::identity::Identity;
use hitmap_wire::mapping::Mapping;
use hitmap_wire::modules::{COUNTERS, FLAGS, GUARDS, Module};
use hitmap_wire::novelty::Novelty;
use hitmap_wire::region::Region;
use hitmap_wire::sweep::Plan;

const TOUCHED: u32 = 500;
const CLUSTER: u32 = 25;
const WARM_UP: usize = 500;
const TURNS: usize = 5_000;

fn main() {
    // Cargo adds a flag of its own.
    let asked = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for (name, kind, edges) in [
        ("journal, 8 M edges", GUARDS, 8_000_000),
        ("journal, 100 k edges", GUARDS, 100_000),
        ("sweep of flags and counters, 100 k edges", COUNTERS | FLAGS, 100_000),
        ("sweep of counters, 100 k edges", COUNTERS, 100_000),
        ("sweep of flags, 100 k edges", FLAGS, 100_000),
        ("sweep of flags and counters, 1 M edges", COUNTERS | FLAGS, 1_000_000),
    ] {
        if !name.contains(&asked) {
            continue;
        }
        println!("{:.0}\t{name}", median_nanos(kind, edges));
    }
}

fn median_nanos(kind: u32, edges: u32) -> f64 {
    let region = Region::private(edges).expect("memory");
    let module = Module {
        identity: Identity::new(b"bench"),
        path: String::new(),
        kind,
        base: PAGE as u32,
        edges,
        load_bias: 0,
        pc_table: 0,
    };
    let capacity = region.layout().capacity;
    let plan = Plan::of(&[module], capacity);
    let history = Mapping::anonymous(capacity as usize).expect("memory");
    // Everything was seen before: a boring run, as nearly all are.
    // SAFETY: the mapping is ours and as long as the capacity.
    unsafe { history.base().write_bytes(u8::MAX, capacity as usize) };
    let mut novelty = Novelty::new(history, capacity).expect("memory");
    let gap = (edges - CLUSTER) / (TOUCHED / CLUSTER);
    let touched: Vec<u32> = (0..TOUCHED).map(|at| PAGE as u32 + (at / CLUSTER) * gap + at % CLUSTER).collect();
    let mut nanos: Vec<u128> = (0..WARM_UP + TURNS)
        .map(|_| {
            touch(&region, kind, &touched);
            let start = Instant::now();
            let news = novelty.judge(&plan, &region);
            let took = start.elapsed().as_nanos();
            assert_eq!(news, None);
            took
        })
        .skip(WARM_UP)
        .collect();
    assert_eq!(region.header().journal_len.load(Ordering::Relaxed), 0);
    nanos.sort_unstable();
    nanos[TURNS / 2] as f64
}

/// What instrumented code does.
fn touch(region: &Region, kind: u32, edges: &[u32]) {
    for &edge in edges {
        // SAFETY: the edges lie within both planes.
        unsafe {
            if kind & FLAGS != 0 {
                *region.flags().add(edge as usize) = 1;
            }
            if kind & (COUNTERS | GUARDS) != 0 {
                *region.counters().add(edge as usize) = 1;
            }
        }
        if kind & GUARDS != 0 {
            region.push_journal(edge);
        }
    }
}
