//! Picking the next entry: hitmap's favoured-entry queue, and LibAFL's minimizer over its queue.
//!
//! Both have the same entries, which touch the same edges, and get a new one before every fourth pick. LibAFL's culls
//! before every pick, hitmap's after what is new.

use std::time::{Duration, Instant};

use hitmap_fuzzer::engine::rand::Xoshiro;
use hitmap_fuzzer::engine::scheduler::FavouredScheduler;
use hitmap_fuzzer::engine::{State, state};
use hitmap_observers::feedback::TouchedMetadata;
use libafl::corpus::{Corpus, Testcase};
use libafl::feedbacks::MapIndexesMetadata;
use libafl::inputs::BytesInput;
use libafl::observers::{CanTrack, StdMapObserver};
use libafl::schedulers::{IndexesLenTimeMinimizerScheduler, QueueScheduler, Scheduler};
use libafl::state::{HasCorpus, HasRand};
use libafl::{Error, HasMetadata};
use libafl_bolts::rands::Rand;

use crate::Way;

const ENTRIES: usize = 1000;
/// All edges, and those that one entry touches.
const EDGES: (usize, usize) = (20_000, 300);
const PICKS: u32 = 400;
/// Picks from one new entry to the next.
const EVERY: u32 = 4;

/// What a pick takes on average, the taking up of new entries included.
pub fn nanoseconds(way: Way, seed: u64) -> Result<u64, Error> {
    let mut state = state(Xoshiro::new(seed), &mut (), 4096)?;
    match way {
        Way::Hitmap => measure(&mut state, FavouredScheduler::new(), |scheduler, id| scheduler.mark_fuzzed(id, false)),
        Way::Stock => {
            let observer = StdMapObserver::owned("edges", vec![0_u8]).track_indices();
            let scheduler = IndexesLenTimeMinimizerScheduler::new(&observer, QueueScheduler::new());
            measure(&mut state, scheduler, |_, _| {})
        }
    }
}

fn measure<S: Scheduler<BytesInput, State>>(
    state: &mut State,
    mut scheduler: S,
    mut after: impl FnMut(&mut S, libafl::corpus::CorpusId),
) -> Result<u64, Error> {
    for _ in 0..ENTRIES {
        let entry = entry(state);
        let id = state.corpus_mut().add(entry)?;
        scheduler.on_add(state, id)?;
    }
    let mut spent = Duration::ZERO;
    for pick in 0..PICKS {
        let new = (pick % EVERY == 0).then(|| entry(state)).map(|entry| state.corpus_mut().add(entry)).transpose()?;
        let began = Instant::now();
        if let Some(new) = new {
            scheduler.on_add(state, new)?;
        }
        let id = scheduler.next(state)?;
        after(&mut scheduler, id);
        spent += began.elapsed();
    }
    Ok((spent / PICKS).as_nanos() as u64)
}

fn entry(state: &mut State) -> Testcase<BytesInput> {
    let rand = state.rand_mut();
    let mut edges: Vec<usize> = (0..EDGES.1).map(|_| rand.below_or_zero(EDGES.0)).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut entry = Testcase::new(BytesInput::new(vec![0; 1 + rand.below_or_zero(100)]));
    entry.set_exec_time(Duration::from_nanos(1000 + rand.below_or_zero(1000) as u64));
    entry.add_metadata(TouchedMetadata { hits: edges.iter().map(|edge| (*edge as u32, 1)).collect() });
    entry.add_metadata(MapIndexesMetadata::new(edges));
    entry
}
