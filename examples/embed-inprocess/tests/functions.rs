//! Functions instead of edges, of a library that is really instrumented.

mod built;
mod icon;

use hitmap_observers::{EdgeObserver, LiveMap};
use icon::Icon;

#[test]
fn a_function_counts_as_often_as_it_is_entered() {
    let icon = Icon::load(built::instrumented);
    let map = LiveMap::of_this_process(1 << 16).expect("a map");
    let mut observer = EdgeObserver::of_functions("functions", &map).expect("an observer");
    observer.clear().expect("functions are told apart");
    for input in [&b"IC"[..], b"IC\x01\x02\x03abcdef"] {
        icon.read(input);
    }
    observer.take().expect("the map is read");
    let hits: Vec<(u32, u8)> = observer.run().hits().collect();
    assert_eq!(hits, [(map.modules()[0].base, 2)], "one function, entered twice");
    assert!(map.edges() > 3);
}
