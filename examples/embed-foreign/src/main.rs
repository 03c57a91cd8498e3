//! `embed-foreign /NAME SOCKET CRASHES EXECUTIONS`: fuzzes a server that somebody else started with
//! `HITMAP_MAP=/NAME`, over its socket, until it died CRASHES times. When it dies, the fuzzer waits for
//! it to be started again and goes on; the edges' numbers do not move.

mod server;

use std::error::Error;
use std::num::NonZeroUsize;

use hitmap_observers::{EdgeObserver, History, LiveMap, NoveltyFeedback};
use libafl::corpus::{Corpus, InMemoryCorpus};
use libafl::events::SimpleEventManager;
use libafl::executors::WithObservers;
use libafl::feedbacks::CrashFeedback;
use libafl::fuzzer::{Evaluator, Fuzzer, StdFuzzer};
use libafl::inputs::BytesInput;
use libafl::monitors::SimpleMonitor;
use libafl::mutators::{HavocScheduledMutator, havoc_mutations};
use libafl::schedulers::QueueScheduler;
use libafl::stages::StdMutationalStage;
use libafl::state::{HasExecutions, HasSolutions, StdState};
use libafl_bolts::rands::StdRand;
use libafl_bolts::tuples::tuple_list;

use server::Server;

fn main() -> Result<(), Box<dyn Error>> {
    let [name, socket, crashes, executions] = <[String; 4]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "usage: embed-foreign /NAME SOCKET CRASHES EXECUTIONS")?;
    let (crashes, executions): (usize, u64) = (crashes.parse()?, executions.parse()?);

    // The map is made here and joined by the server, however often it is started.
    let map = LiveMap::named(&name, 1 << 16)?;
    let observer = EdgeObserver::new("edges", &map)?;
    let mut feedback = NoveltyFeedback::new(&observer, History::new(map.capacity())?);

    let mut objective = CrashFeedback::new();
    let corpora = (InMemoryCorpus::<BytesInput>::new(), InMemoryCorpus::new());
    let mut state = StdState::new(StdRand::with_seed(1), corpora.0, corpora.1, &mut feedback, &mut objective)?;
    let mut manager = SimpleEventManager::new(SimpleMonitor::new(|line| println!("{line}")));
    let mut fuzzer = StdFuzzer::new(QueueScheduler::new(), feedback, objective);
    let mut executor = WithObservers::new(Server::new(&socket), tuple_list!(observer));
    // One mutant a visit, so that nothing is sent after the last death.
    let havoc = HavocScheduledMutator::new(havoc_mutations());
    let mut stages = tuple_list!(StdMutationalStage::with_max_iterations(havoc, NonZeroUsize::MIN));

    println!("waiting for a server on {socket}, started with HITMAP_MAP={name}");
    fuzzer.add_input(&mut state, &mut executor, &mut manager, BytesInput::new(b"get 1".to_vec()))?;
    let mut died = 0;
    while died < crashes && *state.executions() < executions {
        fuzzer.fuzz_one(&mut stages, &mut executor, &mut state, &mut manager)?;
        if state.solutions().count() > died {
            died = state.solutions().count();
            let at: Vec<u32> = map.modules().iter().map(|module| module.base).collect();
            println!("died {died} times after {} executions; edges begin at {at:?}", state.executions());
        }
    }
    map.remove()?;
    if died < crashes { Err("the server did not die often enough".into()) } else { Ok(()) }
}
