//! What reading a map costs in LibAFL's loop, per run.
//!
//! `hitmap-bench-observers stock|journal|flags|counters EDGES TOUCHED RUNS` prints the median, in nanoseconds,
//! of what a run costs that is not the target's: LibAFL's `evaluate_input`, from the reset of the map to
//! the verdict that nothing is new, less the time in which the "target" touches its edges. All ways look at
//! the same edges of the same kind of memory, in the steady state, where everything is known.
//!
//! - `stock`: `HitcountsMapObserver` over `StdMapObserver`, and `MaxMapFeedback`;
//! - `journal`: hitmap's observer and feedback over a library with guards;
//! - `flags`: the same over one with inline counters and flags, which is swept;
//! - `counters`: over one with inline counters alone, swept too.

mod target;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use hitmap_observers::{EdgeObserver, History, LiveMap, NoveltyFeedback};
use hitmap_wire::modules::{COUNTERS, FLAGS, GUARDS};
use libafl::corpus::{Corpus, InMemoryCorpus};
use libafl::events::SimpleEventManager;
use libafl::executors::WithObservers;
use libafl::feedbacks::{Feedback, MaxMapFeedback, StateInitializer};
use libafl::fuzzer::{Evaluator, StdFuzzer};
use libafl::inputs::BytesInput;
use libafl::monitors::NopMonitor;
use libafl::observers::{HitcountsMapObserver, ObserversTuple};
use libafl::schedulers::QueueScheduler;
use libafl::state::{HasCorpus, StdState};
use libafl_bolts::rands::StdRand;
use libafl_bolts::tuples::{MatchName, tuple_list};
use serde::Serialize;
use serde::de::DeserializeOwned;

use target::{SETS, Target};

type State = StdState<InMemoryCorpus<BytesInput>, BytesInput, StdRand, InMemoryCorpus<BytesInput>>;
type Manager = SimpleEventManager<BytesInput, NopMonitor, State>;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(nanoseconds) => {
            println!("{nanoseconds}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hitmap-bench-observers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<u64, Box<dyn Error>> {
    let [way, edges, touched, runs] = arguments else {
        return Err(
            "give stock, journal, flags or counters, then how many edges, how many touched, how many runs".into()
        );
    };
    let (edges, touched, runs) = (edges.parse()?, touched.parse()?, runs.parse()?);
    let map = LiveMap::of_children(edges)?;
    let kind = match way.as_str() {
        "flags" => COUNTERS | FLAGS,
        "counters" => COUNTERS,
        "journal" | "stock" => GUARDS,
        other => return Err(format!("{other} is neither stock, journal, flags nor counters").into()),
    };
    let target = Target::new(&map, kind, edges, touched)?;
    if way == "stock" {
        // SAFETY: the target is called between resets and verdicts, and there is one observer.
        let observer = HitcountsMapObserver::new(unsafe { map.stock_observer("edges")? });
        let feedback = MaxMapFeedback::new(&observer);
        return measure(target, tuple_list!(observer), feedback, runs);
    }
    let observer = EdgeObserver::new("edges", &map)?;
    let feedback = NoveltyFeedback::new(&observer, History::new(map.capacity())?);
    measure(target, tuple_list!(observer), feedback, runs)
}

fn measure<F, OT>(target: Target, observers: OT, mut feedback: F, runs: usize) -> Result<u64, Box<dyn Error>>
where
    F: Feedback<Manager, BytesInput, OT, State> + StateInitializer<State>,
    OT: ObserversTuple<BytesInput, State> + MatchName + Serialize + DeserializeOwned,
{
    let mut objective = ();
    let corpora = (InMemoryCorpus::new(), InMemoryCorpus::new());
    let mut state = StdState::new(StdRand::with_seed(1), corpora.0, corpora.1, &mut feedback, &mut objective)?;
    let mut manager = SimpleEventManager::new(NopMonitor::new());
    let mut fuzzer = StdFuzzer::new(QueueScheduler::new(), feedback, objective);
    let mut executor = WithObservers::new(target, observers);
    let input = BytesInput::new(vec![0; 16]);
    for _ in 0..SETS {
        fuzzer.evaluate_input(&mut state, &mut executor, &mut manager, &input)?;
    }
    let known = state.corpus().count();
    let mut each = Vec::with_capacity(runs);
    for _ in 0..runs {
        let (before, began) = (target::spent(), Instant::now());
        fuzzer.evaluate_input(&mut state, &mut executor, &mut manager, &input)?;
        each.push((began.elapsed() - (target::spent() - before)).as_nanos() as u64);
    }
    if state.corpus().count() != known || known == 0 {
        return Err("the runs that are measured must find nothing new, and those before them something".into());
    }
    each.sort_unstable();
    each.get(runs / 2).copied().ok_or_else(|| "at least one run".into())
}
