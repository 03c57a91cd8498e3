//! `embed-inprocess LIBRARY EXECUTIONS CRASHES`: fuzzes `read_icon` of an instrumented C++ library in
//! this very process, in the shape of LibAFL's `baby_fuzzer`. The input that crashes it is kept in the
//! folder CRASHES, and the process ends with it.

use std::error::Error;
use std::ffi::{CString, c_int};
use std::path::PathBuf;

use hitmap_observers::{EdgeObserver, History, LiveMap, NoveltyFeedback};
use libafl::corpus::{InMemoryCorpus, OnDiskCorpus};
use libafl::events::SimpleEventManager;
use libafl::executors::{ExitKind, InProcessExecutor};
use libafl::feedbacks::CrashFeedback;
use libafl::fuzzer::{Evaluator, Fuzzer, StdFuzzer};
use libafl::inputs::{BytesInput, HasTargetBytes};
use libafl::monitors::SimpleMonitor;
use libafl::mutators::{HavocScheduledMutator, havoc_mutations};
use libafl::observers::CanTrack;
use libafl::schedulers::{IndexesLenTimeMinimizerScheduler, QueueScheduler};
use libafl::stages::StdMutationalStage;
use libafl::state::{HasExecutions, StdState};
use libafl_bolts::rands::StdRand;
use libafl_bolts::tuples::tuple_list;

type ReadIcon = unsafe extern "C" fn(*const u8, usize) -> c_int;

fn main() -> Result<(), Box<dyn Error>> {
    let [library, executions, crashes] = <[String; 3]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "usage: embed-inprocess LIBRARY EXECUTIONS CRASHES")?;
    let executions: u64 = executions.parse()?;

    // What hitmap adds to a LibAFL fuzzer: a map, an observer of its edges, a feedback with a history.
    let map = LiveMap::of_this_process(1 << 16)?;
    let read_icon = load(&library)?;
    let observer = EdgeObserver::new("edges", &map)?.track_indices();
    let mut feedback = NoveltyFeedback::new(&observer, History::new(map.capacity())?);

    let mut objective = CrashFeedback::new();
    let mut state = StdState::new(
        StdRand::with_seed(1),
        InMemoryCorpus::<BytesInput>::new(),
        OnDiskCorpus::new(PathBuf::from(crashes))?,
        &mut feedback,
        &mut objective,
    )?;
    let mut manager = SimpleEventManager::new(SimpleMonitor::new(|line| println!("{line}")));
    let scheduler = IndexesLenTimeMinimizerScheduler::new(&observer, QueueScheduler::new());
    let mut fuzzer = StdFuzzer::new(scheduler, feedback, objective);
    let harness = |input: &BytesInput| {
        let bytes = input.target_bytes();
        // SAFETY: the function reads `len` bytes, and these are there.
        unsafe { read_icon(bytes.as_ptr(), bytes.len()) };
        ExitKind::Ok
    };
    let mut executor = InProcessExecutor::builder()
        .harness(harness)
        .observers(tuple_list!(observer))
        .fuzzer(&mut fuzzer)
        .state(&mut state)
        .event_mgr(&mut manager)
        .build()?;
    let mut stages = tuple_list!(StdMutationalStage::new(HavocScheduledMutator::new(havoc_mutations())));

    fuzzer.add_input(&mut state, &mut executor, &mut manager, BytesInput::new(b"icon of any kind".to_vec()))?;
    while *state.executions() < executions {
        fuzzer.fuzz_one(&mut stages, &mut executor, &mut state, &mut manager)?;
    }
    println!("no crash in {executions} executions");
    Ok(())
}

/// Loads the library, whose stub joins the map.
fn load(path: &str) -> Result<ReadIcon, Box<dyn Error>> {
    let (path_text, name) = (CString::new(path)?, c"read_icon");
    // SAFETY: both are C strings, and the library is the user's own: its constructors may run. The
    // function has this type in its source.
    unsafe {
        let handle = libc::dlopen(path_text.as_ptr(), libc::RTLD_NOW);
        let symbol = if handle.is_null() { handle } else { libc::dlsym(handle, name.as_ptr()) };
        if symbol.is_null() {
            return Err(format!("{path} cannot be loaded, or has no read_icon").into());
        }
        Ok(std::mem::transmute::<*mut libc::c_void, ReadIcon>(symbol))
    }
}
