//! LibAFL's own parts over hitmap's observer: a fuzzer is built of each, and finds a word.

mod target;

use hitmap_observers::{EdgeObserver, History, LiveMap, NoveltyFeedback};
use hitmap_wire::modules::Module;
use libafl::corpus::{Corpus, InMemoryCorpus};
use libafl::events::SimpleEventManager;
use libafl::executors::{Executor, ExitKind, WithObservers};
use libafl::feedbacks::{AflMapFeedback, CrashFeedback, MaxMapFeedback, NewHashFeedback};
use libafl::fuzzer::{Evaluator, Fuzzer, StdFuzzer};
use libafl::inputs::{BytesInput, HasTargetBytes};
use libafl::monitors::NopMonitor;
use libafl::mutators::{HavocScheduledMutator, havoc_mutations};
use libafl::observers::CanTrack;
use libafl::schedulers::powersched::PowerSchedule;
use libafl::schedulers::{
    CoverageAccountingScheduler, IndexesLenTimeMinimizerScheduler, PowerQueueScheduler, QueueScheduler,
    StdWeightedScheduler,
};
use libafl::stages::{
    CalibrationStage, ObserverEqualityFactory, StdMutationalStage, StdPowerMutationalStage, StdTMinMutationalStage,
};
use libafl::state::{HasExecutions, HasSolutions, StdState};
use libafl_bolts::rands::StdRand;
use libafl_bolts::tuples::tuple_list;
use target::{INLINE, JOURNAL, Target};

const WORD: &[u8] = b"hit";

/// Reads a word, and "crashes" when it is the right one.
struct Reads {
    target: Target,
    module: Module,
}

impl<EM, S: HasExecutions, Z> Executor<EM, BytesInput, S, Z> for Reads {
    fn run_target(
        &mut self,
        _: &mut Z,
        state: &mut S,
        _: &mut EM,
        input: &BytesInput,
    ) -> Result<ExitKind, libafl::Error> {
        *state.executions_mut() += 1;
        let found = self.target.compare(&self.module, &input.target_bytes(), WORD);
        Ok(if found { ExitKind::Crash } else { ExitKind::Ok })
    }
}

/// A test that puts a fuzzer together of `observer`, `feedback`, `scheduler` and `stages`.
macro_rules! finds {
    ($name:ident, $kind:expr, $observer:expr, $feedback:expr, $scheduler:expr, $stages:expr) => {
        #[test]
        fn $name() {
            let map = LiveMap::of_children(100_000).unwrap();
            let target = Target::join(&map);
            let module = target.load("reads", $kind, 100).unwrap();
            let observer = $observer(EdgeObserver::new("edges", &map).unwrap());
            let mut feedback = $feedback(&observer, &map);
            let mut stages = $stages(&feedback, &observer);
            let mut objective = CrashFeedback::new();
            let corpora = (InMemoryCorpus::<BytesInput>::new(), InMemoryCorpus::new());
            let rand = StdRand::with_seed(1);
            let mut state = StdState::new(rand, corpora.0, corpora.1, &mut feedback, &mut objective).unwrap();
            let mut manager = SimpleEventManager::new(NopMonitor::new());
            let scheduler = $scheduler(&observer, &mut state);
            let mut fuzzer = StdFuzzer::new(scheduler, feedback, objective);
            let mut executor = WithObservers::new(Reads { target, module }, tuple_list!(observer));
            let seed = BytesInput::new(b"seed".to_vec());
            fuzzer.add_input(&mut state, &mut executor, &mut manager, seed).unwrap();
            while state.solutions().is_empty() {
                fuzzer.fuzz_one(&mut stages, &mut executor, &mut state, &mut manager).unwrap();
                assert!(*state.executions() < 5_000_000, "the word is not found");
            }
        }
    };
}

fn as_it_is(observer: EdgeObserver) -> EdgeObserver {
    observer
}

fn novelty<O: hitmap_observers::feedback::Touched>(observer: &O, map: &LiveMap) -> NoveltyFeedback<O> {
    NoveltyFeedback::new(observer, History::new(map.capacity()).unwrap())
}

macro_rules! havoc {
    () => {
        HavocScheduledMutator::new(havoc_mutations())
    };
}

finds!(
    hitmaps_feedback_with_a_queue,
    JOURNAL,
    as_it_is,
    novelty,
    |_: &_, _: &mut _| QueueScheduler::new(),
    |_: &_, _: &_| tuple_list!(StdMutationalStage::new(havoc!()))
);
finds!(
    hitmaps_feedback_with_a_minimizing_scheduler,
    INLINE,
    EdgeObserver::track_indices,
    novelty,
    |observer: &_, _: &mut _| IndexesLenTimeMinimizerScheduler::new(observer, QueueScheduler::new()),
    |_: &_, _: &_| tuple_list!(StdMutationalStage::new(havoc!()))
);
finds!(
    hitmaps_feedback_with_calibration_and_power_schedule,
    JOURNAL,
    EdgeObserver::track_novelties,
    novelty,
    |observer: &_, state: &mut _| PowerQueueScheduler::new(state, observer, PowerSchedule::fast()),
    |feedback: &_, _: &_| tuple_list!(CalibrationStage::new(feedback), StdPowerMutationalStage::new(havoc!()))
);
finds!(
    max_map_feedback_with_minimizer_over_power_schedule,
    INLINE,
    |observer: EdgeObserver| observer.track_indices().track_novelties(),
    |observer: &_, _: &_| MaxMapFeedback::new(observer),
    |observer: &_, state: &mut _| {
        let base = PowerQueueScheduler::new(state, observer, PowerSchedule::explore());
        IndexesLenTimeMinimizerScheduler::new(observer, base)
    },
    |feedback: &_, _: &_| tuple_list!(CalibrationStage::new(feedback), StdPowerMutationalStage::new(havoc!()))
);
finds!(
    max_map_feedback_with_weights,
    JOURNAL,
    EdgeObserver::track_indices,
    |observer: &_, _: &_| MaxMapFeedback::new(observer),
    |observer: &_, state: &mut _| {
        let base = StdWeightedScheduler::new(state, observer);
        IndexesLenTimeMinimizerScheduler::new(observer, base)
    },
    |feedback: &_, _: &_| tuple_list!(CalibrationStage::new(feedback), StdPowerMutationalStage::new(havoc!()))
);
finds!(
    afl_map_feedback_with_coverage_accounting,
    INLINE,
    EdgeObserver::track_indices,
    |observer: &_, _: &_| AflMapFeedback::new(observer),
    |observer: &_, state: &mut _| CoverageAccountingScheduler::new(observer, state, QueueScheduler::new(), &[1; 8192]),
    |_: &_, _: &_| tuple_list!(StdMutationalStage::new(havoc!()))
);
finds!(
    new_hashes_count_as_news,
    INLINE,
    as_it_is,
    |observer: &EdgeObserver, _: &_| NewHashFeedback::new(observer),
    |_: &_, _: &mut _| QueueScheduler::new(),
    |_: &_, _: &_| tuple_list!(StdMutationalStage::new(havoc!()))
);
finds!(
    testcases_are_shrunk_while_the_observer_says_the_same,
    JOURNAL,
    as_it_is,
    novelty,
    |_: &_, _: &mut _| QueueScheduler::new(),
    |_: &_, observer: &EdgeObserver| {
        let same = ObserverEqualityFactory::new(observer);
        tuple_list!(StdTMinMutationalStage::new(havoc!(), same, 8), StdMutationalStage::new(havoc!()))
    }
);
