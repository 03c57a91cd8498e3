//! The runtime inside real processes: libraries that clang instruments, loaded by a driver program.
//!
//! In the order of the story: a library joins, counts, is read, is shared with another process, and
//! what goes wrong. The calls of two older tools have modules of their own.

mod comparisons;
mod covmap;
mod fixture;
mod ground;
mod memcov;

use std::process::Command;
use std::sync::atomic::Ordering;

use fixture::{
    Bench, Build, GUARDS, GUARDS_IN_LINE, INLINE, Shared, clang, linkers, ok, runtime, script, stub_folder, with,
    with_path,
};
use hitmap_wire::modules;
use hitmap_wire::named;
use hitmap_wire::region::{DEFAULT_EDGES, MODE_ENGINE};
use hitmap_wire::sweep::Plan;

/// Loads the runtime, then one library, then does `commands`; expects `numbers`.
#[track_caller]
fn check(build: &Build<'_>, commands: &[&str], numbers: &[i64]) {
    let bench = Bench::new();
    let lib = bench.library("a", build);
    let mut all = vec![with("rt", &runtime()), with("open", &lib)];
    all.extend(commands.iter().map(|c| (*c).to_owned()));
    let ran = bench.run(&all);
    assert_eq!(ran.numbers, numbers, "{}", ran.stderr);
    assert_eq!(ran.stderr, "");
}

fn guards() -> Build<'static> {
    Build { coverage: &[GUARDS], ..Build::default() }
}

fn guards_in_line() -> Build<'static> {
    Build { coverage: GUARDS_IN_LINE, ..Build::default() }
}

fn prebuilt<'a>(coverage: &'a [&'a str]) -> Build<'a> {
    Build { coverage, stub: false, isolate: false, ..Build::default() }
}

// A library joins.

#[test]
fn a_library_without_a_runtime_works() {
    for build in [Build::default(), guards(), guards_in_line(), Build { isolate: false, ..Build::default() }] {
        let bench = Bench::new();
        let lib = bench.library("a", &build);
        let ran = bench.run(&[with("open", &lib), "call 0 3 300".into(), "get 0".into(), "close 0".into()]);
        assert_eq!((ran.numbers, ran.stderr.as_str()), (vec![1], ""));
    }
}

#[test]
fn inline_counters_are_counted() {
    check(&Build::default(), &["total", "hits", "call 0 3 1", "call 0 9 5", "hits", "hits"], &[10, 0, 2, 2]);
}

#[test]
fn every_instrumentation_counts_edges_or_functions_with_and_without_addresses() {
    let bench = Bench::new();
    let kinds = ["inline-8bit-counters", "inline-bool-flag", "inline-8bit-counters,inline-bool-flag", "trace-pc-guard"];
    let levels = [("edge", true), ("edge,pc-table", true), ("func", true), ("func,pc-table", true), ("edge", false)];
    for (kind, (level, stub)) in kinds.iter().flat_map(|kind| levels.map(|level| (kind, level))) {
        let coverage = format!("-fsanitize-coverage={level},{kind}");
        let lib = bench.library("a", &Build { coverage: &[&coverage], stub, isolate: stub, ..Build::default() });
        let mut all = vec![with("rt", &runtime()), with("open", &lib)];
        all.extend(script(["call 0 3 3", "total", "hits", "save", "class 3"]));
        let class = if *kind == "inline-bool-flag" { 1 } else { 4 };
        let ran = bench.run(&all);
        assert_eq!((&ran.numbers[..], ran.stderr.as_str()), (&[10, 1, class][..], ""), "{coverage}");
    }
}

#[test]
fn guards_with_thin_lto_say_hit_or_not_and_keep_a_journal() {
    for coverage in
        [GUARDS, "-fsanitize-coverage=edge,trace-pc-guard,pc-table", "-fsanitize-coverage=func,trace-pc-guard"]
    {
        let build = Build { coverage: &[coverage], lto: true, ..Build::default() };
        check(&build, &["call 0 3 300", "call 0 9 1", "total", "hits", "save", "class 3", "class 9"], &[10, 2, 1, 1]);
        let bench = Bench::new();
        let shared = Shared::new(100_000, MODE_ENGINE);
        let lib = bench.library("a", &build);
        let all = [with("rt", &runtime()), with("open", &lib), "call 0 3 300".into(), "call 0 9 1".into()];
        bench.run_with(&all, Some(&shared.variable));
        let journal: Vec<u32> = shared.region.journal()[..3].iter().map(|e| e.load(Ordering::Relaxed)).collect();
        assert_eq!(journal, [4096 + 3, 4096 + 9, 0]);
        // Alone it counts into nothing.
        assert_eq!(bench.run(&[with("open", &lib), "call 0 3 300".into(), "get 0".into()]).numbers, [1]);
    }
}

#[test]
fn thin_lto_leaves_no_call_of_the_guards_callback_and_the_assembler_none_but_of_first_touches() {
    let bench = Bench::new();
    let lib = bench.library("a", &Build { coverage: &[GUARDS], lto: true, edges: 100, ..Build::default() });
    let listing = |lib: &std::path::Path| {
        let listed = Command::new("objdump").args(["-d", "--no-show-raw-insn"]).arg(lib).output().unwrap();
        String::from_utf8_lossy(&listed.stdout).into_owned()
    };
    let calls = |of: &str, text: &str| {
        text.lines()
            .filter(|line| (line.contains("call") || line.contains("jmp") || line.contains("\tb")) && line.contains(of))
            .count()
    };
    let inlined = listing(&lib);
    assert_eq!(calls("<__sanitizer_cov_trace_pc_guard>", &inlined), 0);
    assert!(calls("<hitmap_first_touch>", &inlined) >= 100);
    let called = listing(&bench.library("b", &Build { edges: 100, ..guards() }));
    assert_eq!(calls("<__sanitizer_cov_trace_pc_guard>", &called), 100);
    if cfg!(target_arch = "x86_64") {
        // Behind each function's return, and back into the function.
        let in_line = listing(&bench.library("c", &Build { edges: 100, ..guards_in_line() }));
        let lines: Vec<&str> = in_line.lines().collect();
        let behind = |three: &&[&str]| {
            three[0].contains("ret")
                && three[1].contains("<__sanitizer_cov_trace_pc_guard>")
                && three[2].contains("jmp")
        };
        assert_eq!(lines.windows(3).filter(behind).count(), 100);
        assert_eq!(calls("<__sanitizer_cov_trace_pc_guard>", &in_line), 100);
    }
}

#[test]
fn code_that_gcc_instruments_is_counted_by_its_addresses() {
    let bench = Bench::new();
    let (source, object, out) = (bench.at("gcc", "c"), bench.at("gcc", "o"), bench.at("gcc", "so"));
    let functions: String = (0..10).map(|i| format!("void f{i}(void) {{ sink = {i}; }}\n")).collect();
    std::fs::write(&source, format!("static volatile int sink;\n{functions}")).unwrap();
    ok(Command::new("gcc")
        .args(["-O1", "-fPIC", "-c", "-fsanitize-coverage=trace-pc"])
        .arg(&source)
        .arg("-o")
        .arg(&object));
    let (folder, stub) = (stub_folder(), bench.at("hitmap_gcc", "o"));
    let mut cc = Command::new("gcc");
    cc.args(["-O2", "-fPIC", "-Wall", "-Wextra", "-Werror", "-c"]).arg(folder.join("hitmap_gcc.c"));
    ok(cc.arg("-o").arg(&stub));
    let mut link = Command::new("gcc");
    link.arg("-shared").arg(object).arg(bench.stub_object()).arg(stub).arg("-Wl,--build-id=sha1");
    ok(link.args(["isolate.ld", "gcc.ld"].map(|name| with_path("-Wl,-T,", &folder.join(name)))).arg("-o").arg(&out));
    let mut all = vec![with("rt", &runtime()), with("open", &out)];
    all.extend(script(["hits", "call 0 3 300", "call 0 9 1", "hits", "call 0 3 1", "hits", "modules"]));
    let ran = bench.run(&all);
    assert_eq!((&ran.numbers[..], ran.stderr.as_str()), (&[0, 2, 2, 1][..], ""));
    assert_eq!(bench.run(&[with("open", &out), "call 0 3 300".into()]).stderr, "");
}

#[test]
fn every_instrumentation_in_one_process() {
    let bench = Bench::new();
    let func = "-fsanitize-coverage=func,inline-8bit-counters,inline-bool-flag,pc-table";
    let builds = [
        Build::default(),
        guards(),
        guards_in_line(),
        Build { coverage: &[GUARDS], lto: true, ..Build::default() },
        Build { coverage: &[func], ..Build::default() },
        prebuilt(&[GUARDS]),
        prebuilt(&[INLINE]),
    ];
    let mut all = vec![with("rt", &runtime())];
    for (i, build) in builds.iter().enumerate() {
        all.push(with("open", &bench.library(&format!("lib{i}"), build)));
    }
    all.extend((0..builds.len()).map(|i| format!("call {i} {i} 3")));
    all.extend(script(["total", "modules", "hits", "save"]));
    all.extend((0..builds.len()).map(|i| format!("class {}", 11 * i)));
    let ran = bench.run(&all);
    assert_eq!((&ran.numbers[..], ran.stderr.as_str()), (&[70, 7, 7, 4, 4, 4, 1, 4, 4, 4][..], ""));
}

#[test]
fn a_counter_that_wrapped_is_still_a_hit() {
    check(&Build::default(), &["call 0 3 256", "hits", "save", "class 3"], &[1, 128]);
}

#[test]
fn guards_are_counted_by_the_hidden_callback() {
    for build in [guards(), guards_in_line()] {
        check(&build, &["total", "call 0 3 1", "call 0 4 3", "hits", "save", "class 3", "class 4"], &[10, 2, 1, 4]);
    }
}

#[test]
fn guards_saturate() {
    for build in [guards(), guards_in_line()] {
        check(&build, &["call 0 3 1000", "hits", "save", "class 3"], &[1, 128]);
    }
}

#[test]
fn prebuilt_guards_are_counted_by_the_shared_callback() {
    check(&prebuilt(&[GUARDS]), &["total", "call 0 3 3", "hits", "save", "class 3"], &[10, 1, 4]);
}

#[test]
fn prebuilt_inline_counters_are_counted_in_place() {
    check(&prebuilt(&[INLINE]), &["call 0 3 3", "total", "hits", "save", "class 3"], &[10, 1, 4]);
}

#[test]
fn prebuilt_guards_with_addresses_are_one_module() {
    let flags = "-fsanitize-coverage=edge,trace-pc-guard,pc-table";
    check(&prebuilt(&[flags]), &["total", "modules", "call 0 3 3", "hits"], &[10, 1, 1]);
}

#[test]
fn edges_instrumented_twice_count_once() {
    let both = "-fsanitize-coverage=edge,trace-pc-guard,inline-8bit-counters,pc-table";
    check(&Build { coverage: &[both], ..Build::default() }, &["call 0 3 3", "total", "hits"], &[10, 1]);
}

#[test]
fn an_edge_total_that_is_a_multiple_of_eight_or_a_page_is_counted_to_its_end() {
    for edges in [8usize, 64, 4096] {
        for coverage in [INLINE, GUARDS] {
            let last = format!("call 0 {} 1", edges - 1);
            let build = Build { edges, coverage: &[coverage], ..Build::default() };
            check(&build, &["call 0 0 1", &last, "total", "hits"], &[edges as i64, 2]);
        }
    }
}

#[test]
fn two_libraries_count_side_by_side() {
    let bench = Bench::new();
    let (a, b) = (bench.library("a", &Build::default()), bench.library("b", &Build { edges: 7, ..guards() }));
    let mut all = vec![with("rt", &runtime()), with("open", &a)];
    all.extend(script(["call 0 3 1", "hits", "total"]));
    all.push(with("open", &b));
    all.extend(script(["total", "hits", "call 1 6 1", "call 0 4 1", "hits", "save", "class 16", "class 3", "modules"]));
    assert_eq!(bench.run(&all).numbers, [1, 10, 17, 1, 3, 1, 1, 2]);
}

#[test]
fn objects_compiled_in_different_ways_are_parts_of_one_library() {
    let bench = Bench::new();
    let (source, object) = (bench.at("more", "c"), bench.at("more", "o"));
    std::fs::write(&source, "static volatile int s; void f100(void) { s = 1; } void f101(void) { s = 2; }\n").unwrap();
    ok(clang().args(["-O1", "-fPIC", "-c", GUARDS]).arg(&source).arg("-o").arg(&object));
    let object = object.display().to_string();
    let lib = bench.library("a", &Build { link: &[&object], ..Build::default() });
    let mut all = vec![with("rt", &runtime()), with("open", &lib)];
    all.extend(script(["total", "modules", "call 0 3 1", "call 0 101 3", "hits", "save", "class 3", "class 11"]));
    assert_eq!(bench.run(&all).numbers, [12, 2, 2, 1, 4]);
}

#[test]
fn a_data_only_library_loads_and_brings_no_edges() {
    for isolate in [true, false] {
        check(&Build { coverage: &[], isolate, ..Build::default() }, &["total", "modules", "get 0"], &[0, 0, 1]);
    }
}

#[test]
fn an_instrumented_program_with_the_stub_runs() {
    let bench = Bench::new();
    let (source, out) = (bench.at("program", "c"), bench.at("program", "exe"));
    std::fs::write(&source, "int main(int c, char **v) { (void)v; return c > 5; }\n").unwrap();
    for extra in [&["-pie"][..], &["-no-pie"], &["-no-pie", "-static"]] {
        let mut link = clang();
        link.args([INLINE, "-fPIC", "-O1"]).args(extra).arg(&source).arg(bench.stub_object());
        ok(link.arg(with_path("-Wl,-T,", &stub_folder().join("isolate.ld"))).arg("-o").arg(&out));
        ok(&mut Command::new(&out));
    }
}

#[test]
fn a_stripped_or_collected_library_counts_wherever_the_stub_stands() {
    for (linker, stub_first) in linkers().iter().flat_map(|linker| [(linker, false), (linker, true)]) {
        for link in
            [&[][..], &["-s", "-Wl,-Bsymbolic"], &["-Wl,--gc-sections"], &["-s", "-Wl,--gc-sections", "-Wl,-z,now"]]
        {
            for coverage in [INLINE, GUARDS, "-fsanitize-coverage=edge,inline-8bit-counters,inline-bool-flag"] {
                let link: Vec<&str> = linker.iter().map(String::as_str).chain(link.iter().copied()).collect();
                let build = Build { coverage: &[coverage], stub_first, link: &link, ..Build::default() };
                check_shared(&build);
            }
        }
    }
}

/// In a region that a test shares, a child's hit is seen and its write to the neighbour is not.
#[track_caller]
fn check_shared(build: &Build<'_>) {
    let bench = Bench::new();
    let shared = Shared::new(100_000, 0);
    let lib = bench.library("a", build);
    let mut all = vec![with("rt", &runtime()), with("open", &lib)];
    all.extend(script(["fork", "set 0 3", "call 0 2 1", "end", "parent", "get 0", "total"]));
    let ran = bench.run_with(&all, Some(&shared.variable));
    assert_eq!((ran.numbers, ran.stderr.as_str()), (vec![1, 10], ""));
    assert_eq!(shared.count(4096 + 2), 1);
    let with_flags = build.coverage[0].contains("inline-bool-flag");
    assert_eq!(shared.flag(4096 + 2), u8::from(with_flags));
}

#[test]
fn a_runtime_that_comes_later_finds_the_library_and_what_it_counted() {
    for link in [&[][..], &["-s", "-Wl,--gc-sections"]] {
        for how in ["rt", "rt-local"] {
            let bench = Bench::new();
            let lib = bench.library("a", &Build { link, ..Build::default() });
            let mut all = vec![with("open", &lib), "call 0 3 3".into(), with(how, &runtime())];
            all.extend(script(["hits", "call 0 4 1", "hits", "save", "class 3"]));
            assert_eq!(bench.run(&all).numbers, [1, 2, 4]);
        }
    }
}

#[test]
fn a_library_that_needs_the_runtime_shows_it_on_its_own_handle() {
    let bench = Bench::new();
    let (rt, folder) = (runtime().display().to_string(), runtime().parent().unwrap().display().to_string());
    let rpath = format!("-Wl,-rpath,{folder}");
    for build in [Build::default(), guards(), guards_in_line()] {
        let lib = bench.library("a", &Build { link: &["-Wl,--no-as-needed", &rt, &rpath], ..build });
        let all = [with("open", &lib), "rt-of 0".into(), "call 0 3 1".into(), "hits".into(), "total".into()];
        assert_eq!(bench.run(&all).numbers, [1, 10]);
    }
}

#[test]
fn a_runtime_that_is_not_global_finds_a_library_that_comes_later() {
    let bench = Bench::new();
    let lib = bench.library("a", &Build::default());
    let all = [with("rt-local", &runtime()), with("open", &lib), "call 0 3 1".into(), "hits".into()];
    assert_eq!(bench.run(&all).numbers, [1]);
}

#[test]
fn a_library_that_is_unloaded_keeps_its_hits_and_gets_its_range_back() {
    for build in [Build::default(), guards(), guards_in_line()] {
        let bench = Bench::new();
        let lib = bench.library("a", &build);
        let mut all = vec![with("rt", &runtime()), with("open", &lib)];
        all.extend(script(["call 0 3 1", "close 0", "hits", "total"]));
        all.push(with("open", &lib));
        all.extend(script(["call 0 4 1", "hits", "total", "modules"]));
        assert_eq!(bench.run(&all).numbers, [1, 10, 2, 10, 1]);
    }
}

#[test]
fn a_prebuilt_library_that_is_unloaded_is_noticed() {
    let bench = Bench::new();
    let lib = bench.library("a", &prebuilt(&[INLINE]));
    let mut all = vec![with("rt", &runtime()), with("open", &lib)];
    all.extend(script(["call 0 3 1", "hits", "close 0", "hits", "total"]));
    all.push(with("open", &lib));
    all.extend(script(["call 0 4 1", "hits", "total"]));
    assert_eq!(bench.run(&all).numbers, [1, 1, 10, 2, 10]);
}

/// Announces guards, as a constructor of the compiler's does, and has no table of addresses.
const ANNOUNCED: &str = "
#include <stdint.h>
extern void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);
static uint32_t guards[8192];
__attribute__((constructor)) static void start(void) { __sanitizer_cov_trace_pc_guard_init(guards, guards + 8192); }
int get(void) { return guards[0] != 0; }
";

/// Announces nothing, and would be where the other was.
const PLAIN: &str = "
#include <stdint.h>
uint32_t words[8192];
int get(void) { int all = 0; for (int i = 0; i < 8192; i++) all |= words[i] != 0; return all; }
";

#[test]
fn what_a_library_announced_goes_with_it() {
    let bench = Bench::new();
    let bare = Build { coverage: &[], stub: false, isolate: false, ..Build::default() };
    let (a, b) = (bench.library_of("a", ANNOUNCED, &bare), bench.library_of("b", PLAIN, &bare));
    let mut all = vec![with("rt", &runtime()), with("open", &a), "get 0".into(), "close 0".into(), with("open", &b)];
    all.extend(script(["total", "get 0"]));
    // Back again, at another place.
    all.extend([with("open", &a), "get 1".into()]);
    all.extend(script(["total", "modules", "get 0"]));
    let ran = bench.run(&all);
    assert_eq!((ran.numbers, ran.stderr.as_str()), (vec![1, 8192, 0, 1, 8192, 1, 0], ""));
}

#[test]
fn a_library_that_comes_back_at_once_is_still_one() {
    let bench = Bench::new();
    let bare = Build { coverage: &[], stub: false, isolate: false, ..Build::default() };
    let (a, b) = (bench.library_of("a", ANNOUNCED, &bare), bench.library_of("b", PLAIN, &bare));
    // At the same place first, then at another.
    let mut all = vec![with("rt", &runtime()), with("open", &a), "close 0".into(), with("open", &a), "get 0".into()];
    all.extend(["close 0".into(), with("open", &b), with("open", &a)]);
    all.extend(script(["get 1", "total", "modules", "get 0"]));
    let ran = bench.run(&all);
    assert_eq!((ran.numbers, ran.stderr.as_str()), (vec![1, 1, 8192, 1, 0], ""));
}

// The view.

#[test]
fn hits_stick_until_reset() {
    for build in [Build::default(), guards(), guards_in_line()] {
        check(&build, &["call 0 3 1", "hits", "hits", "reset", "hits", "call 0 3 1", "hits"], &[1, 1, 0, 1]);
    }
}

#[test]
fn push_and_pop_nest() {
    let commands =
        ["call 0 1 1", "push", "hits", "call 0 2 1", "push", "call 0 2 1", "call 0 3 1", "hits", "pop", "hits"];
    let commands = commands.into_iter().chain(["pop", "hits", "pop"]).collect::<Vec<_>>();
    check(&Build::default(), &commands, &[0, 0, 0, 2, 0, 2, 0, 3, -1]);
}

#[test]
fn saved_views_are_restored_and_merged() {
    let commands = ["call 0 1 3", "save", "reset", "call 0 2 1", "merge", "hits", "restore", "hits", "merge-too-long"];
    check(&guards(), &commands, &[0, 2, 0, 1, -2]);
}

#[test]
fn threads_count_while_the_view_is_read() {
    for build in [Build::default(), guards(), guards_in_line()] {
        check(&build, &["race 0 200000", "hits", "reset", "call 0 0 1", "hits"], &[1, 1]);
    }
}

#[test]
fn a_view_as_bytes_is_merged_in_a_process_that_loaded_in_another_order() {
    let bench = Bench::new();
    let (a, b) = (bench.library("a", &Build::default()), bench.library("b", &Build { edges: 7, ..guards() }));
    let file = bench.at("view", "bytes");
    let size = 16 + 2 * 44 + 17;
    let mut all = vec![with("rt", &runtime()), with("open", &a), with("open", &b)];
    all.extend(script(["call 0 3 3", "call 1 6 1", "pack 1", "class 0", "pack"]));
    all.push(with("keep", &file));
    assert_eq!(bench.run(&all).numbers, [size, 0xEE, size], "too short a buffer is left alone");
    let mut all = vec![with("rt", &runtime()), with("open", &b), with("open", &a), with("kept", &file)];
    all.extend(script(["call 1 4 1", "unpack", "hits", "unpack", "hits", "save", "class 6", "class 10", "class 11"]));
    assert_eq!(bench.run(&all).numbers, [0, 3, 0, 3, 1, 4, 1]);
}

#[test]
fn copies_of_one_library_count_apart() {
    for build in [Build::default(), guards(), guards_in_line(), prebuilt(&[GUARDS]), prebuilt(&[INLINE])] {
        let bench = Bench::new();
        let lib = bench.library("a", &build);
        let copy = bench.at("copy", "so");
        std::fs::copy(&lib, &copy).unwrap();
        let file = bench.at("view", "bytes");
        let opened = [with("rt", &runtime()), with("open", &lib), with("open", &copy)];
        let mut all = opened.to_vec();
        all.extend(script(["call 1 4 1", "call 1 5 1", "call 0 3 1", "total", "hits", "save"]));
        all.extend(script(["class 3", "class 4", "class 13", "class 14", "class 15", "pack"]));
        all.push(with("keep", &file));
        // Gone and back: it goes on as the one that is not there.
        all.extend(["close 1".into(), with("open", &copy)]);
        all.extend(script(["reset", "call 1 6 1", "total", "hits", "save", "class 6", "class 16"]));
        let ran = bench.run(&all);
        let size = 16 + 2 * 44 + 20;
        let expect = [20, 3, 1, 0, 0, 1, 1, size, 20, 1, 0, 1];
        assert_eq!((&ran.numbers[..], ran.stderr.as_str()), (&expect[..], ""));
        let mut all = opened.to_vec();
        all.push(with("kept", &file));
        all.extend(script(["unpack", "hits", "save", "class 3", "class 4", "class 13", "class 14", "class 15"]));
        assert_eq!(bench.run(&all).numbers, [0, 3, 1, 0, 0, 1, 1]);
        // To those who read from outside, a library is one however often it is loaded.
        let shared = Shared::new(100_000, MODE_ENGINE);
        bench.run_with(&opened, Some(&shared.variable));
        assert_eq!(modules::all(&shared.region).len(), 1);
    }
}

#[test]
fn bytes_that_do_not_fit_change_nothing() {
    let bench = Bench::new();
    let (a, b) = (bench.library("a", &Build::default()), bench.library("b", &Build::default()));
    let file = bench.at("view", "bytes");
    let mut all = vec![with("rt", &runtime()), with("open", &a), with("open", &b)];
    all.extend(script(["call 0 3 1", "call 1 3 1", "pack"]));
    all.push(with("keep", &file));
    bench.run(&all);
    for (lie, code) in [
        ("unpack", -5),
        ("unpack -1", -2),
        ("unpack 1", -2),
        ("scribble 8 2", -2),
        ("scribble 12 1", -2),
        ("scribble 15 255", -2),
        ("scribble 16 33", -2),
        ("scribble 59 127", -2),
    ] {
        let mut all = vec![with("rt", &runtime()), with("open", &a), with("kept", &file)];
        all.extend([lie, "unpack", "hits"].into_iter().skip(usize::from(lie == "unpack")).map(str::to_owned));
        let numbers = bench.run(&all).numbers;
        assert_eq!((numbers[0], numbers.last()), (code, Some(&0)), "{lie}: {numbers:?}");
    }
}

// Another process.

#[test]
fn a_map_that_a_process_creates_is_shared_with_its_children() {
    for build in [Build::default(), guards(), guards_in_line()] {
        let commands = ["call 0 1 1", "create 10000", "fork", "call 0 2 1", "kill", "parent", "hits"];
        check(&build, &commands, &[0, 2]);
    }
    check(&guards(), &["create 0", "create 2147483647", "call 0 1 1", "hits"], &[-2, -4, 1]);
}

#[test]
fn a_plain_fork_counts_for_itself() {
    for build in [Build::default(), guards(), prebuilt(&[INLINE])] {
        let commands = ["call 0 1 1", "fork", "call 0 2 1", "hits", "end", "parent", "hits"];
        check(&build, &commands, &[2, 1]);
    }
}

#[test]
fn a_killed_child_leaves_its_counts_in_the_shared_region() {
    for build in [Build::default(), guards(), guards_in_line()] {
        let bench = Bench::new();
        let shared = Shared::new(100_000, MODE_ENGINE);
        let lib = bench.library("a", &build);
        let mut all = vec![with("rt", &runtime()), with("open", &lib)];
        all.extend(script(["fork", "call 0 3 5", "call 0 7 1", "kill", "parent"]));
        let ran = bench.run_with(&all, Some(&shared.variable));
        assert_eq!(ran.stderr, "");
        let all = modules::all(&shared.region);
        assert_eq!((all.len(), all[0].edges), (1, 10));
        let mut seen = Vec::new();
        Plan::of(&all, shared.region.layout().capacity).drain(&shared.region, |e, c| seen.push((e - all[0].base, c)));
        seen.sort_unstable();
        assert_eq!(seen, [(3, 8), (7, 1)]);
    }
}

#[test]
fn the_last_flags_of_a_library_and_the_first_of_the_next_lie_on_one_page() {
    let bench = Bench::new();
    let shared = Shared::new(100_000, MODE_ENGINE);
    let large = Build { edges: 4000, ..Build::default() };
    let (a, b) = (bench.library("a", &large), bench.library("b", &Build::default()));
    let mut all = vec![with("rt", &runtime()), with("open", &a), with("open", &b)];
    all.extend(script(["fork", "call 0 3999 1", "call 1 2 1", "call 0 0 1", "kill", "parent"]));
    assert_eq!(bench.run_with(&all, Some(&shared.variable)).stderr, "");
    let flags: Vec<u32> = (1..100_000).filter(|edge| shared.flag(*edge) != 0).collect();
    let counters: Vec<u32> = (1..100_000).filter(|edge| shared.count(*edge) != 0).collect();
    assert_eq!((&flags[..], &counters[..]), (&[4096, 4096 + 3999, 8192 + 2][..], &[4096, 4096 + 3999, 8192 + 2][..]));
}

#[test]
fn hidden_guards_journal_each_edge_once() {
    let bench = Bench::new();
    let shared = Shared::new(100_000, MODE_ENGINE);
    let lib = bench.library("a", &guards());
    let mut all = vec![with("rt", &runtime()), with("open", &lib)];
    all.extend(script(["call 0 3 5", "call 0 7 1", "call 0 3 1"]));
    bench.run_with(&all, Some(&shared.variable));
    assert_eq!(shared.region.header().journal_len.load(Ordering::Relaxed), 2);
    let entries: Vec<u32> = shared.region.journal()[..2].iter().map(|e| e.load(Ordering::Relaxed)).collect();
    assert_eq!(entries, [4096 + 3, 4096 + 7]);
}

#[test]
fn a_library_that_a_child_loads_late_has_the_same_range_in_the_next_child() {
    let bench = Bench::new();
    let shared = Shared::new(100_000, MODE_ENGINE);
    let (a, b) = (bench.library("a", &Build::default()), bench.library("b", &Build::default()));
    let c = bench.library("c", &guards());
    let mut all = vec![with("rt", &runtime()), with("open", &a), "fork".into(), with("open", &b), with("open", &c)];
    all.extend(script(["call 1 1 1", "call 2 1 1", "kill", "parent", "fork"]));
    all.extend([with("open", &c), with("open", &b)]);
    all.extend(script(["call 1 2 1", "call 2 2 1", "kill", "parent", "call 0 5 1"]));
    bench.run_with(&all, Some(&shared.variable));
    let names: Vec<String> = modules::all(&shared.region).iter().map(|m| m.name().to_owned()).collect();
    assert_eq!(names, ["a.so", "b.so", "c.so"]);
    let bases = [4096, 8192, 12288];
    let hit = |base: u32| (0..10).filter(|i| shared.count(base + i) != 0).collect::<Vec<_>>();
    assert_eq!(bases.map(hit), [vec![5], vec![1, 2], vec![1, 2]]);
}

#[test]
fn neighbours_of_moved_counters_stay_private() {
    for coverage in
        [INLINE, "-fsanitize-coverage=edge,inline-8bit-counters", "-fsanitize-coverage=edge,inline-bool-flag"]
    {
        let build = Build { coverage: &[coverage], ..Build::default() };
        let bench = Bench::new();
        let shared = Shared::new(100_000, 0);
        let lib = bench.library("a", &build);
        let mut all = vec![with("rt", &runtime()), with("open", &lib)];
        all.extend(script(["fork", "set 0 3", "call 0 2 1", "end", "parent", "get 0"]));
        assert_eq!(bench.run_with(&all, Some(&shared.variable)).numbers, [1]);
        assert_eq!(shared.count(4096 + 2) | shared.flag(4096 + 2), 1);
    }
}

#[test]
fn attaching_carries_what_was_counted_and_what_comes() {
    for build in [Build::default(), guards(), guards_in_line()] {
        let bench = Bench::new();
        let shared = Shared::new(20_000, 0);
        let lib = bench.library("a", &build);
        let mut all = vec![with("rt", &runtime()), with("open", &lib)];
        all.extend(script(["call 0 1 1", "hits", "fork"]));
        all.push(format!("attach {}", shared.variable));
        all.extend(script(["call 0 2 1", "hits", "kill", "parent", "hits"]));
        assert_eq!(bench.run(&all).numbers, [1, 0, 2, 1]);
        let hit: Vec<u32> = (0..10).filter(|i| shared.count(4096 + i) != 0).collect();
        assert_eq!(hit, [1, 2]);
    }
}

#[test]
fn a_run_in_a_child_has_a_map_of_its_own() {
    for build in [Build::default(), guards(), prebuilt(&[INLINE]), prebuilt(&[GUARDS])] {
        let bench = Bench::new();
        let shared = Shared::new(DEFAULT_EDGES, 0);
        let (a, b) = (bench.library("a", &build), bench.library("b", &guards()));
        let mut all = vec![with("rt", &runtime()), with("open", &a)];
        // What the parent counted, looked at or not, is none of the child's business, nor the other way round.
        all.extend(script(["call 0 1 1", "hits", "call 0 4 1", "fork"]));
        all.push(format!("enter {}", shared.variable));
        all.extend(script(["hits", "call 0 1 5", "call 0 2 1", "hits"]));
        all.extend([with("open", &b)]);
        all.extend(script(["call 1 3 1", "gather", "kill", "parent", "hits", "call 0 5 1", "hits"]));
        let ran = bench.run(&all);
        assert_eq!((ran.numbers, ran.stderr.as_str()), (vec![1, 0, 0, 2, 2, 3], ""));
        let all = modules::all(&shared.region);
        let mut seen = Vec::new();
        Plan::of(&all, shared.region.layout().capacity).drain(&shared.region, |e, c| seen.push((e, c)));
        seen.sort_unstable();
        let (a, b) = (all[0].base, all[1].base);
        assert_eq!(seen, [(a + 1, 8), (a + 2, 1), (b + 3, 1)]);
    }
}

#[test]
fn children_of_a_child_count_into_its_map_unless_they_have_a_twin() {
    for build in [Build::default(), guards(), guards_in_line()] {
        let bench = Bench::new();
        let shared = Shared::new(DEFAULT_EDGES, 0);
        let lib = bench.library("a", &build);
        let mut all = vec![with("rt", &runtime()), with("open", &lib), format!("enter {}", shared.variable)];
        all.extend(script([
            "fork",
            "call 0 1 1",
            "end",
            "parent",
            "fork",
            "twin",
            "call 0 7 1",
            "hits",
            "end",
            "parent",
        ]));
        assert_eq!(bench.run(&all).numbers, [0, 0, 1]);
        let hit: Vec<u32> = (0..10).filter(|i| shared.count(4096 + i) != 0).collect();
        assert_eq!(hit, [1]);
    }
}

#[test]
fn a_twin_of_another_size_is_refused() {
    let shared = Shared::new(100_000, 0);
    check(&guards(), &["call 0 1 1", &format!("enter {}", shared.variable), "call 0 2 1", "hits"], &[-2, 2]);
    check(&guards(), &["enter fd:99:1", "call 0 2 1", "hits"], &[-3, 1]);
}

#[test]
fn a_view_leaves_an_engines_counters_alone() {
    for build in [Build::default(), guards(), guards_in_line()] {
        let bench = Bench::new();
        let shared = Shared::new(100_000, MODE_ENGINE);
        let lib = bench.library("a", &build);
        let mut all = vec![with("rt", &runtime()), with("open", &lib)];
        all.extend(script([
            "call 0 1 3",
            "hits",
            "reset",
            "hits",
            "push",
            "call 0 1 1",
            "call 0 2 1",
            "hits",
            "pop",
            "hits",
        ]));
        assert_eq!(bench.run_with(&all, Some(&shared.variable)).numbers, [1, 0, 0, 2, 0, 2]);
        assert_eq!((shared.count(4096 + 1), shared.count(4096 + 2)), (4, 1));
    }
}

#[test]
fn counters_that_cannot_be_moved_are_gathered_and_the_remedy_is_said() {
    for build in [prebuilt(&[INLINE]), Build { isolate: false, ..Build::default() }] {
        let bench = Bench::new();
        let shared = Shared::new(100_000, MODE_ENGINE);
        let lib = bench.library("a", &build);
        let mut all = vec![with("rt", &runtime()), with("open", &lib)];
        all.extend(script(["call 0 3 3", "gather", "call 0 3 1", "gather", "hits"]));
        let ran = bench.run_with(&all, Some(&shared.variable));
        assert_eq!(ran.numbers, [1]);
        assert_eq!((shared.count(4096 + 3), shared.flag(4096 + 3)), (4, 1));
        assert!(ran.stderr.contains("hitmap-clang") && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    }
}

#[test]
fn a_named_map_outlives_the_targets_that_join_it() {
    for build in [Build::default(), guards(), guards_in_line()] {
        let bench = Bench::new();
        let name =
            named::MapName::new(&format!("/hitmap-runtime-test-{}-{}", std::process::id(), build.coverage[0].len()));
        let name = name.expect("a good name");
        let region = named::open_or_create(&name, 100_000, MODE_ENGINE).expect("a region");
        let (a, b) = (bench.library("a", &build), bench.library("b", &build));
        let count = |edge: usize| {
            // SAFETY: the test's edges lie inside of the region.
            unsafe { *region.counters().add(edge) }
        };
        // The second time the libraries come in the other order, and keep their ranges.
        for (order, calls) in [([&a, &b], "call 0 3 1"), ([&b, &a], "call 1 3 2")] {
            let mut all = vec![with("rt", &runtime()), with("open", order[0]), with("open", order[1])];
            all.extend(script([calls]));
            let ran = bench.run_with(&all, Some(name.as_str()));
            assert_eq!(ran.stderr, "");
        }
        assert_eq!((count(4096 + 3), count(8192 + 3)), (3, 0));
        named::remove(&name).expect("it is there");
        let late = bench.run_with(&[with("rt", &runtime()), with("open", &a)], Some(name.as_str()));
        assert!(late.stderr.contains("counting privately"), "{}", late.stderr);
    }
}

// What goes wrong.

#[test]
fn a_library_that_does_not_fit_is_named_and_the_target_runs_on() {
    for coverage in [INLINE, GUARDS] {
        let bench = Bench::new();
        let shared = Shared::new(4096, 0);
        let small = bench.library("small", &Build::default());
        let big = bench.library("big", &Build { edges: 5000, coverage: &[coverage], ..Build::default() });
        let mut all = vec![with("rt", &runtime()), with("open", &small), with("open", &big)];
        all.extend(script(["call 1 3 1", "call 0 3 1", "total", "hits", "modules"]));
        let ran = bench.run_with(&all, Some(&shared.variable));
        assert_eq!(ran.numbers, [10, 1, 2]);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.starts_with("hitmap: big.so: 5000 edges are not counted: map full: 0 edges left"));
        assert!(ran.stderr.contains("--map-edges "), "{}", ran.stderr);
    }
}

#[test]
fn a_map_variable_without_its_descriptor_is_silent() {
    let bench = Bench::new();
    let lib = bench.library("a", &Build::default());
    let all = [with("rt", &runtime()), with("open", &lib), "call 0 3 1".into(), "hits".into()];
    let ran = bench.run_with(&all, Some("fd:987:00000000000000ff"));
    assert_eq!((ran.numbers, ran.stderr.as_str()), (vec![1], ""));
}

#[test]
fn a_descriptor_that_is_no_region_is_said_once() {
    let bench = Bench::new();
    let lib = bench.library("a", &Build::default());
    let all = [with("rt", &runtime()), with("open", &lib), "call 0 3 1".into(), "hits".into()];
    let ran = bench.run_with(&all, Some("fd:2:00000000000000ff"));
    assert_eq!(ran.numbers, [1]);
    assert!(ran.stderr.contains("not a hitmap region") && ran.stderr.lines().count() == 1, "{}", ran.stderr);
}

#[test]
fn a_second_runtime_says_so_and_hands_over_to_the_first() {
    for how in ["rt", "rt-local"] {
        for build in [Build::default(), guards(), prebuilt(&[GUARDS]), prebuilt(&[INLINE])] {
            let bench = Bench::new();
            let copy = bench.at("libhitmap_rt", "so");
            std::fs::copy(runtime(), &copy).unwrap();
            let lib = bench.library("a", &build);
            let mut all = vec![with(how, &runtime()), with("second", &copy), with("open", &lib)];
            all.extend(script(["call 0 3 300", "hits", "total"]));
            let ran = bench.run(&all);
            assert_eq!(ran.numbers, [1, 10]);
            assert!(ran.stderr.contains("second runtime") && ran.stderr.lines().count() == 1, "{}", ran.stderr);
        }
    }
}

// What is exported.

#[test]
fn every_function_of_the_header_is_exported() {
    let header = include_str!("../include/hitmap.h");
    let path = std::ffi::CString::new(runtime().into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: loads the library under test; its constructor finds nothing instrumented here.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null());
    let declared = header.lines().filter(|l| l.ends_with(");") && !l.starts_with(' '));
    let names: Vec<&str> = declared.filter_map(|l| l.split('(').next()?.rsplit([' ', '*']).next()).collect();
    assert_eq!(names.len(), 17, "{names:?}");
    for name in names {
        let symbol = std::ffi::CString::new(name).unwrap();
        // SAFETY: the handle is open and the name is a C string.
        assert!(!unsafe { libc::dlsym(handle, symbol.as_ptr()) }.is_null(), "{name}");
    }
}
