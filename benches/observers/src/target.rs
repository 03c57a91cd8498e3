//! A target that touches edges and does nothing else.
//!
//! Half of the edges lie in runs of 32 neighbours, half lie anywhere, as in real programs; 16 sets of
//! them take turns. Counts as instrumented code does, and keeps the time that it takes.

use std::cell::Cell;
use std::error::Error;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use hitmap_observers::LiveMap;
use hitmap_wire::control::{NamedMap, parse_map_variable};
use hitmap_wire::identity::Identity;
use hitmap_wire::modules::{self, FLAGS, GUARDS, Module};
use hitmap_wire::region::Region;
use libafl::executors::{Executor, ExitKind};
use libafl::inputs::BytesInput;
use libafl::state::HasExecutions;

/// Sets of edges that take turns.
pub const SETS: usize = 16;
const NEIGHBOURS: u32 = 32;

thread_local! {
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How long targets took so far.
pub fn spent() -> Duration {
    SPENT.get()
}

/// It.
pub struct Target {
    region: Region,
    kind: u32,
    sets: Vec<Vec<(u32, u8)>>,
    turn: usize,
}

impl Target {
    /// A library of `edges` edges in `map`, of which each run touches `touched`.
    pub fn new(map: &LiveMap, kind: u32, edges: u32, touched: u32) -> Result<Target, Box<dyn Error>> {
        let variable = map.variable().and_then(|(_, value)| parse_map_variable(&value));
        let Some(NamedMap::Descriptor(fd, token)) = variable else { return Err("a map for children".into()) };
        // SAFETY: the map keeps the descriptor open.
        let region = Region::attach(unsafe { BorrowedFd::borrow_raw(fd) }, token)?;
        let identity = Identity::new(b"bench");
        let module = Module { identity, path: "bench".into(), kind, base: 0, edges, load_bias: 0, pc_table: 0 };
        let base = modules::register(&region, &module).map_err(|refusal| refusal.to_string())?;
        let mut random = Random(7);
        let sets = (0..SETS).map(|_| set(&mut random, base, edges, touched)).collect();
        Ok(Target { region, kind, sets, turn: 0 })
    }

    fn touch(&mut self) {
        let (counters, flags) = (self.region.counters(), self.region.flags());
        for (edge, times) in &self.sets[self.turn] {
            // SAFETY: the edges lie in the library's range, and the observer's pointers are not in use
            // while the target runs. Volatile, because it stands for code that the compiler cannot see.
            unsafe {
                let counter = counters.add(*edge as usize);
                if self.kind == GUARDS && counter.read_volatile() == 0 {
                    self.region.push_journal(*edge);
                }
                counter.write_volatile(counter.read_volatile().wrapping_add(*times));
                if self.kind & FLAGS != 0 {
                    flags.add(*edge as usize).write_volatile(1);
                }
            }
        }
        self.turn = (self.turn + 1) % SETS;
    }
}

impl<EM, S: HasExecutions, Z> Executor<EM, BytesInput, S, Z> for Target {
    fn run_target(&mut self, _: &mut Z, state: &mut S, _: &mut EM, _: &BytesInput) -> Result<ExitKind, libafl::Error> {
        *state.executions_mut() += 1;
        let began = Instant::now();
        self.touch();
        SPENT.set(SPENT.get() + began.elapsed());
        Ok(ExitKind::Ok)
    }
}

fn set(random: &mut Random, base: u32, edges: u32, touched: u32) -> Vec<(u32, u8)> {
    let mut all = std::collections::BTreeSet::new();
    while (all.len() as u32) < touched / 2 {
        let first = random.below(edges - NEIGHBOURS);
        all.extend((first..first + NEIGHBOURS).take((touched / 2) as usize - all.len()));
    }
    while (all.len() as u32) < touched {
        all.insert(random.below(edges));
    }
    let mut set: Vec<_> = all.into_iter().map(|edge| (base + edge, 1 + random.below(4) as u8)).collect();
    // Not in the order of their numbers: neighbours stay together.
    set.chunks_mut(NEIGHBOURS as usize).for_each(|chunk| chunk.reverse());
    set.rotate_left(random.below(touched) as usize);
    set
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mix = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mix = (mix ^ (mix >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mix ^ (mix >> 31)) % u64::from(end)) as u32
    }
}
