//! LibAFL's stock fuzzer, executor, observers and feedbacks over a Python harness.
//!
//! Nothing of hitmap is linked. The worker is started as any target of AFL++ would be, and writes what it
//! covers into LibAFL's shared map. Ends at the first crash.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use libafl::HasNamedMetadata;
use libafl::corpus::{Corpus, InMemoryCorpus, OnDiskCorpus};
use libafl::events::SimpleEventManager;
use libafl::executors::{ForkserverExecutor, StdChildArgs};
use libafl::feedbacks::{CrashFeedback, MapFeedbackMetadata, MaxMapFeedback};
use libafl::fuzzer::{Evaluator, Fuzzer, StdFuzzer};
use libafl::inputs::BytesInput;
use libafl::monitors::NopMonitor;
use libafl::mutators::{HavocScheduledMutator, havoc_mutations};
use libafl::observers::{CanTrack, HitcountsMapObserver, StdMapObserver};
use libafl::schedulers::{IndexesLenTimeMinimizerScheduler, QueueScheduler};
use libafl::stages::StdMutationalStage;
use libafl::state::{HasCorpus, HasExecutions, HasSolutions, StdState};
use libafl_bolts::StdTargetArgs;
use libafl_bolts::rands::StdRand;
use libafl_bolts::shmem::{ShMem, ShMemProvider, UnixShMemProvider};
use libafl_bolts::tuples::tuple_list;

/// The largest map that a harness may need. The worker says how large its map is, and the observer is cut
/// to that.
const LARGEST_MAP: usize = 1 << 23;
const MAP: &str = "edges";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [python, harness, seeds, crashes, limit] = &arguments[..] else {
        return Err("usage: embed-forkserver PYTHON HARNESS.py SEEDS CRASHES EXECUTIONS".into());
    };
    let limit: u64 = limit.parse()?;

    let mut provider = UnixShMemProvider::new()?;
    let mut map = provider.new_shmem(LARGEST_MAP)?;
    // SAFETY: no other thread is there to read the environment.
    unsafe { map.write_to_env("__AFL_SHM_ID")? };
    // SAFETY: the map lives as long as the observer. The worker writes to it while the executor waits.
    let observer = unsafe { StdMapObserver::new(MAP, &mut map) };
    let observer = HitcountsMapObserver::new(observer).track_indices();

    let mut feedback = MaxMapFeedback::new(&observer);
    let mut objective = CrashFeedback::new();
    let corpus = InMemoryCorpus::<BytesInput>::new();
    let solutions = OnDiskCorpus::new(PathBuf::from(crashes))?;
    let mut state = StdState::new(StdRand::with_seed(1), corpus, solutions, &mut feedback, &mut objective)?;
    let scheduler = IndexesLenTimeMinimizerScheduler::new(&observer, QueueScheduler::new());
    let mut fuzzer = StdFuzzer::new(scheduler, feedback, objective);
    let mut manager = SimpleEventManager::new(NopMonitor::new());

    let mut executor = ForkserverExecutor::builder()
        .program(python)
        .args(["-m", "hitmap.worker", harness])
        .shmem_provider(&mut provider)
        .coverage_map_size(LARGEST_MAP)
        .timeout(Duration::from_secs(2))
        .kill_signal("SIGKILL".parse()?)
        // What the worker says when something is wrong is worth reading.
        .debug_child(true)
        .build_dynamic_map(observer, tuple_list!())?;

    for seed in fs::read_dir(seeds)? {
        let input = BytesInput::new(fs::read(seed?.path())?);
        fuzzer.add_input(&mut state, &mut executor, &mut manager, input)?;
    }

    let mut stages = tuple_list!(StdMutationalStage::new(HavocScheduledMutator::new(havoc_mutations())));
    let mut entries = 0;
    while *state.executions() < limit && state.solutions().is_empty() {
        fuzzer.fuzz_one(&mut stages, &mut executor, &mut state, &mut manager)?;
        if state.corpus().count() != entries {
            entries = state.corpus().count();
            let covered = state.named_metadata::<MapFeedbackMetadata<u8>>(MAP)?.num_covered_map_indexes;
            println!("{} executions, {entries} entries, {covered} edges", state.executions());
        }
    }
    println!("{} executions, {} crashes in {crashes}", state.executions(), state.solutions().count());
    Ok(())
}
