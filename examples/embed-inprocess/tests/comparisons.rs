//! What a library that is really instrumented compares.

mod built;
mod icon;

use hitmap_observers::{ComparisonObserver, LiveMap};
use icon::Icon;
use libafl::HasMetadata;
use libafl::corpus::InMemoryCorpus;
use libafl::executors::ExitKind;
use libafl::inputs::BytesInput;
use libafl::observers::Observer;
use libafl::observers::cmp::{CmpValues, CmpValuesMetadata};
use libafl::state::StdState;
use libafl_bolts::rands::StdRand;

#[test]
fn a_magic_byte_reaches_libafl() {
    let icon = Icon::load(built::comparing);
    let map = LiveMap::of_this_process(1 << 16).expect("a map");
    let mut observer = ComparisonObserver::new("comparisons", &map);
    let corpora = (InMemoryCorpus::<BytesInput>::new(), InMemoryCorpus::new());
    let mut state = StdState::new(StdRand::with_seed(1), corpora.0, corpora.1, &mut (), &mut ()).expect("a state");
    let input = BytesInput::new(b"ZC\x01\x02\x03".to_vec());
    observer.pre_exec(&mut state, &input).expect("the log is on");
    icon.read(b"ZC\x01\x02\x03");
    observer.post_exec(&mut state, &input, &ExitKind::Ok).expect("the log is read");
    let list = &state.metadata::<CmpValuesMetadata>().expect("comparisons").list;
    let magic =
        |value: &CmpValues| matches!(value, CmpValues::U8((a, b, _)) if [*a, *b] == *b"IZ" || [*a, *b] == *b"ZI");
    assert!(list.iter().any(magic), "{list:?}");
}
