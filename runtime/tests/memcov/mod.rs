//! memcov's calls inside real processes: libraries with memcov's flags, driven through the symbols.

use crate::fixture::{Bench, Build, GUARDS, runtime, script, with};

/// Ten edges, built as memcov's users build: no stub, the callback in the shared runtime.
fn memcovs(edges: usize) -> Build<'static> {
    Build { edges, coverage: &[GUARDS], stub: false, isolate: false, ..Build::default() }
}

const BOOLS: &str = "-fsanitize-coverage=edge,inline-bool-flag,pc-table";

/// Loads the runtime, then one library of ten edges, then does `commands`; expects `numbers`, and
/// nothing said.
#[track_caller]
fn check<const N: usize>(commands: [&str; N], numbers: &[i64]) {
    let said = told(&memcovs(10), commands, numbers);
    assert_eq!(said, "");
}

/// [`check`] with any library; returns what was said.
#[track_caller]
fn told<const N: usize>(build: &Build<'_>, commands: [&str; N], numbers: &[i64]) -> String {
    let bench = Bench::new();
    let lib = bench.library("a", build);
    let mut all = vec![with("rt", &runtime()), with("open", &lib)];
    all.extend(script(commands));
    let ran = bench.run(&all);
    assert_eq!(ran.numbers, numbers, "{}", ran.stderr);
    ran.stderr
}

#[test]
fn now_and_total_count_edges() {
    check(["ask mcov_get_total", "ask mcov_get_now", "call 0 3 5", "call 0 9 1", "ask mcov_get_now"], &[10, 0, 2]);
}

#[test]
fn bool_flags_alone_are_enough_and_do_not_wrap() {
    for stub in [true, false] {
        let build = Build { coverage: &[BOOLS], stub, isolate: stub, ..Build::default() };
        let said = told(&build, ["call 0 3 256", "ask mcov_get_now", "ask mcov_get_now"], &[1, 1]);
        assert_eq!(said, "");
    }
}

#[test]
fn the_map_counts_edges_from_1() {
    check(
        ["call 0 0 1", "call 0 9 1", "ask mcov_get_total", "copy-bits mcov_copy_hitmap", "byte 0", "byte 1"],
        &[10, 2, 2, 0b10, 0b100],
    );
}

#[test]
fn the_bitmap_counts_edges_from_0() {
    check(
        ["call 0 0 1", "call 0 9 1", "ask mcov_get_bitmap_bytes", "copy-bits mcov_copy_bitmap", "byte 0", "byte 1"],
        &[2, 2, 2, 1, 0b10],
    );
    check(["call 0 0 1", "ask mcov_get_hitbits", "tell mcov_reset_bitmap", "ask mcov_get_hitbits"], &[1, 0]);
}

#[test]
fn a_total_that_is_a_multiple_of_eight_has_room_for_its_last_edge() {
    for (edges, last, written) in [(8, "call 0 7 1", 2), (64, "call 0 63 1", 9)] {
        let commands = [last, "ask mcov_get_total", "copy-bits mcov_copy_hitmap", "tell mcov_reset"];
        let more = ["give mcov_set_hitmap", "ask mcov_get_now"];
        let all = [commands[0], commands[1], commands[2], commands[3], more[0], more[1]];
        assert_eq!(told(&memcovs(edges), all, &[edges as i64, written, 1, 1]), "");
    }
}

#[test]
fn a_second_library_loses_nothing_and_no_old_buffer_is_overrun() {
    let bench = Bench::new();
    let (a, b) = (bench.library("a", &memcovs(10)), bench.library("b", &memcovs(100)));
    let mut all = vec![with("rt", &runtime()), with("open", &a)];
    all.extend(script(["call 0 3 1", "tell mcov_push_coverage", "call 0 4 1", "ask mcov_get_total"]));
    all.push(with("open", &b));
    all.extend(script([
        "ask mcov_get_now",
        "tell mcov_pop_coverage",
        "call 1 0 1",
        "call 1 99 1",
        "ask mcov_get_now",
        "copy-bits mcov_copy_hitmap",
        "byte 1",
        "ask mcov_get_total",
        "copy-bits mcov_copy_hitmap",
        "byte 1",
        "byte 13",
    ]));
    let ran = bench.run(&all);
    // The first copy holds the ten edges that the caller knew of, and no bit of the others. In the second the edges
    // of the other library follow, 11 to 110, whatever lies between the two in the map.
    assert_eq!((ran.numbers, ran.stderr.as_str()), (vec![10, 1, 4, 2, 2, 0, 110, 14, 4, 1 << 3, 1 << 6], ""));
}

/// 70,000 edges, of which the functions touch the first, the 65,537th and the last.
const MANY: &str = "
#include <stdint.h>
extern void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);
extern void __sanitizer_cov_trace_pc_guard(uint32_t *guard);
static uint32_t guards[70000];
__attribute__((constructor)) static void start(void) { __sanitizer_cov_trace_pc_guard_init(guards, guards + 70000); }
void f0(void) { __sanitizer_cov_trace_pc_guard(guards); }
void f1(void) { __sanitizer_cov_trace_pc_guard(guards + 65536); }
void f2(void) { __sanitizer_cov_trace_pc_guard(guards + 69999); }
";

#[test]
fn no_edge_stands_for_another_above_two_to_the_sixteenth() {
    let bench = Bench::new();
    let lib = bench.library_of("many", MANY, &Build { coverage: &[], stub: false, isolate: false, ..Build::default() });
    let mut all = vec![with("rt", &runtime()), with("open", &lib)];
    all.extend(script(["call 0 0 1", "call 0 1 1", "call 0 2 1", "ask mcov_get_hitbits", "ask mcov_get_bitmap_bytes"]));
    all.extend(script(["copy-bits mcov_copy_bitmap", "byte 0", "byte 8192", "byte 8749"]));
    let ran = bench.run(&all);
    assert_eq!((ran.numbers, ran.stderr.as_str()), (vec![3, 8750, 8750, 3, 1, 1, 128], ""));
}

#[test]
fn threads_lose_no_edge_of_each_other() {
    check(
        ["race 0 20000 10", "ask mcov_get_total", "ask mcov_get_now", "copy-bits mcov_copy_hitmap"],
        &[10, 10, 2, 10],
    );
}

#[test]
fn a_buffer_of_unknown_size_is_left_alone() {
    let said = told(&memcovs(10), ["call 0 0 1", "copy-bits mcov_copy_hitmap", "ask mcov_get_now"], &[0, 0, 1]);
    assert!(said.contains("mcov_get_total") && said.lines().count() == 1, "{said}");
    let said = told(&memcovs(10), ["call 0 0 1", "give mcov_set_bitmap", "ask mcov_get_now"], &[1]);
    assert!(said.contains("mcov_get_bitmap_bytes") && said.lines().count() == 1, "{said}");
}

#[test]
fn setting_the_map_recomputes_now() {
    check(
        [
            "call 0 1 1",
            "call 0 2 1",
            "ask mcov_get_total",
            "copy-bits mcov_copy_hitmap",
            "tell mcov_reset",
            "call 0 5 1",
            "ask mcov_get_now",
            "tell mcov_set_now 77",
            "ask mcov_get_now",
            "give mcov_set_hitmap",
            "ask mcov_get_now",
            "call 0 5 1",
            "call 0 1 1",
            "ask mcov_get_now",
        ],
        &[10, 2, 2, 1, 77, 2, 3],
    );
}

#[test]
fn a_number_that_was_set_ends_with_reset_push_and_pop() {
    check(["tell mcov_set_now 7", "ask mcov_get_now", "tell mcov_reset", "ask mcov_get_now"], &[7, 0]);
    check(
        [
            "call 0 1 1",
            "tell mcov_set_hitbits 7",
            "tell mcov_push_coverage",
            "ask mcov_get_now",
            "tell mcov_set_now 5",
            "tell mcov_pop_coverage",
            "ask mcov_get_hitbits",
        ],
        &[0, 1],
    );
}

#[test]
fn new_edges_count_on_top_of_a_number_that_was_set() {
    let set =
        ["call 0 1 1", "tell mcov_set_now 100", "ask mcov_get_now", "call 0 1 1", "call 0 2 1", "ask mcov_get_now"];
    check(set, &[100, 101]);
}

#[test]
fn push_nests_deeper_than_eight() {
    let bench = Bench::new();
    let lib = bench.library("a", &memcovs(40));
    let mut all = vec![with("rt", &runtime()), with("open", &lib)];
    for level in 0..40 {
        all.extend([format!("call 0 {level} 1"), "tell mcov_push_coverage".to_owned()]);
    }
    all.extend(std::iter::repeat_n("tell mcov_pop_coverage".to_owned(), 40));
    all.push("ask mcov_get_now".to_owned());
    let ran = bench.run(&all);
    assert_eq!((ran.numbers, ran.stderr.as_str()), (vec![40], ""));
}

#[test]
fn pop_without_push_does_nothing_and_says_so_once() {
    let commands = ["call 0 1 1", "tell mcov_pop_coverage", "tell mcov_pop_coverage", "ask mcov_get_now"];
    let said = told(&memcovs(10), commands, &[1]);
    assert!(said.contains("mcov_pop_coverage") && said.lines().count() == 1, "{said}");
}

#[test]
fn serialized_coverage_has_now_and_size_before_its_bytes() {
    check(
        ["call 0 1 1", "call 0 9 1", "serialize", "byte 0", "byte 4", "byte 5", "byte 8", "byte 9"],
        &[2, 2, 0, 0b100, 0b100],
    );
}

#[test]
fn deserialized_coverage_is_merged_and_not_put_in_place() {
    check(
        [
            "call 0 1 1",
            "call 0 2 1",
            "serialize",
            "tell mcov_reset",
            "call 0 2 1",
            "call 0 3 1",
            "deserialize",
            "ask mcov_get_now",
        ],
        &[3],
    );
}

#[test]
fn sizes_that_lie_are_refused() {
    // Too few bytes, too many, and a size field that is changed: low, high, huge.
    for lie in ["deserialize -1", "deserialize 1", "deserialize -9", "scribble 4 1", "scribble 4 3", "scribble 7 255"] {
        let commands = ["call 0 1 1", "serialize", "tell mcov_reset", lie, "deserialize", "ask mcov_get_now"];
        let honest_after = lie.starts_with("deserialize");
        let said = told(&memcovs(10), commands, &[i64::from(honest_after)]);
        assert!(said.contains("nothing is merged") && said.lines().count() == 1, "{lie}: {said}");
    }
}

#[test]
fn coverage_of_more_edges_than_are_known_is_refused() {
    let bench = Bench::new();
    let (a, b) = (bench.library("a", &memcovs(10)), bench.library("b", &memcovs(100)));
    let mut all = vec![with("rt", &runtime()), with("open", &a), "fork".to_owned(), with("open", &b)];
    all.extend(script(["call 1 1 1", "serialize", "end", "parent"]));
    // The driver's buffer is its own: the size of a larger process is written by hand.
    all.extend(script(["serialize", "scribble 4 15", "deserialize 13", "ask mcov_get_now"]));
    let ran = bench.run(&all);
    assert_eq!(ran.numbers, [0]);
    assert!(ran.stderr.contains("load the same ones first"), "{}", ran.stderr);
}

#[test]
fn a_childs_map_is_its_own() {
    check(
        [
            "call 0 1 1",
            "fork",
            "call 0 2 1",
            "ask mcov_get_now",
            "tell mcov_reset",
            "end",
            "parent",
            "ask mcov_get_now",
        ],
        &[2, 1],
    );
    let dies =
        ["call 0 1 1", "fork", "tell mcov_push_coverage", "ask mcov_get_now", "kill", "parent", "ask mcov_get_now"];
    check(dies, &[0, 1]);
}

#[test]
fn a_second_runtime_hands_memcovs_calls_to_the_first() {
    let bench = Bench::new();
    let lib = bench.library("a", &memcovs(10));
    let copy = bench.at("copy", "so");
    std::fs::copy(runtime(), &copy).unwrap();
    let mut all = vec![with("rt", &runtime()), with("open", &lib), "call 0 1 1".to_owned(), with("second", &copy)];
    all.extend(script(["ask mcov_get_total", "ask mcov_get_now", "copy-bits mcov_copy_hitmap", "serialize", "byte 0"]));
    assert_eq!(bench.run(&all).numbers, [10, 1, 2, 1, 1]);
}
