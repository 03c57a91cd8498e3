//! The engine: one process that schedules, mutates, runs, judges and keeps.
//!
//! LibAFL is met in this folder (outside of it only its `Error` and `CorpusId` are named); its type
//! parameters are spelled once, here. In the order of the loop: [`scheduler`] picks a testcase, [`stage`]
//! makes mutants of it, by [`comparisons`], [`havoc`] and the harness's own functions ([`making`]), and has them run in batches, [`executor`] runs
//! again what was flagged, feedback and [`objective`] judge; findings are confirmed in `confirm`.

pub mod comparisons;
mod confirm;
pub mod drift;
mod driver;
mod earlier;
pub mod executor;
pub mod havoc;
pub mod making;
pub mod objective;
pub mod rand;
pub mod scheduler;
pub mod seeds;
pub mod session;
pub mod shape;
pub mod spent;
pub mod stage;
pub mod trim;
pub mod words;

pub use libafl::Error;
use libafl::corpus::InMemoryCorpus;
use libafl::events::SimpleEventManager;
use libafl::fuzzer::{NopInputFilter, StdFuzzer};
use libafl::inputs::{BytesInput, BytesInputConverter};
use libafl::monitors::NopMonitor;
use libafl::state::StdState;
use libafl_bolts::tuples::tuple_list_type;

use hitmap_observers::feedback::NoveltyFeedback;
use hitmap_observers::observer::TouchedObserver;

/// What every run is seen by.
pub type Observers = tuple_list_type!(TouchedObserver);
/// Corpus, generator, counters. Queue files are written by the campaign, so LibAFL's corpus lives in
/// memory: its on-disk ones keep three files an entry under names of their own.
pub type State = StdState<InMemoryCorpus<BytesInput>, BytesInput, rand::Xoshiro, InMemoryCorpus<BytesInput>>;
/// Events go nowhere: engines exchange through the campaign folder.
pub type Manager = SimpleEventManager<BytesInput, NopMonitor, State>;
/// LibAFL's fuzzer over our scheduler, feedback and objective.
pub type Fuzzer = StdFuzzer<
    scheduler::FavouredScheduler,
    NoveltyFeedback,
    BytesInputConverter,
    NopInputFilter,
    objective::FindingFeedback,
>;
/// A state over an empty corpus, with the generator that all decisions come from.
///
/// # Errors
/// What LibAFL reports.
pub fn state<F>(rand: rand::Xoshiro, feedback: &mut F, max_len: usize) -> Result<State, Error>
where
    F: libafl::feedbacks::StateInitializer<State>,
{
    use libafl::state::HasMaxSize;
    let mut objective = objective::FindingFeedback;
    let mut state = StdState::new(rand, InMemoryCorpus::new(), InMemoryCorpus::new(), feedback, &mut objective)?;
    state.set_max_size(max_len);
    Ok(state)
}
