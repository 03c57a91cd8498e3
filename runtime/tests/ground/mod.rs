//! Hard ground: many libraries, a very large one, and code that counts where little else may run.

use std::process::Command;

use crate::fixture::{Bench, Build, GUARDS, INLINE, Shared, runtime, script, with};
use hitmap_wire::modules;

/// The three ways of counting that are not alike: inline, by the hidden and by the shared callback.
fn each_way() -> [Build<'static>; 3] {
    let prebuilt = Build { coverage: &[GUARDS], stub: false, isolate: false, ..Build::default() };
    [Build::default(), Build { coverage: &[GUARDS], ..Build::default() }, prebuilt]
}

/// The edges of the first library that were touched in a region that a test shares.
fn touched(shared: &Shared) -> Vec<u32> {
    let module = &modules::all(&shared.region)[0];
    (0..module.edges).filter(|edge| shared.count(module.base + edge) != 0).collect()
}

/// Runs a library of this source in a shared region, in each way; its edges `expect` were touched.
#[track_caller]
fn check(source: &str, commands: &[&str], expect: &[u32]) {
    for build in each_way() {
        let bench = Bench::new();
        let shared = Shared::new(100_000, 0);
        let lib = bench.library_of("a", source, &Build { link: &["-pthread"], ..build.clone() });
        let mut all = vec![with("rt", &runtime()), with("open", &lib)];
        all.extend(commands.iter().map(|command| (*command).to_owned()));
        let ran = bench.run_with(&all, Some(&shared.variable));
        assert_eq!((touched(&shared), ran.stderr.as_str()), (expect.to_vec(), ""), "{:?}", build.coverage);
    }
}

#[test]
fn forty_libraries_count_side_by_side() {
    let bench = Bench::new();
    // A build-id that is easily found in the file: a copy with another one is another library.
    let id = [0xA5; 16];
    let link = &[&*format!("-Wl,--build-id=0x{}", "a5".repeat(16))];
    let builds = [INLINE, GUARDS].map(|coverage| {
        let name = if coverage == INLINE { "inline" } else { "guards" };
        std::fs::read(bench.library(name, &Build { coverage: &[coverage], link, ..Build::default() })).unwrap()
    });
    let at = builds.each_ref().map(|file| file.windows(16).position(|bytes| bytes == id).expect("a build-id"));
    let mut all = vec![with("rt", &runtime())];
    for number in 0..40usize {
        let mut file = builds[number % 2].clone();
        file[at[number % 2]] = number as u8;
        let path = bench.at(&format!("lib{number}"), "so");
        std::fs::write(&path, file).unwrap();
        all.push(with("open", &path));
    }
    all.extend((0..40).map(|number| format!("call {number} {} 1", number % 10)));
    all.extend(script(["total", "modules", "hits", "call 39 0 1", "close 7", "hits", "total"]));
    let shared = Shared::new(1_000_000, 0);
    for map in [None, Some(&*shared.variable)] {
        let ran = bench.run_with(&all, map);
        assert_eq!((&ran.numbers[..], ran.stderr.as_str()), (&[400, 40, 40, 41, 400][..], ""));
    }
    for (number, module) in modules::all(&shared.region).iter().enumerate() {
        assert_eq!(shared.count(module.base + number as u32 % 10), 1, "library {number}");
    }
}

/// The arrays are real, and as long as those of a library with four million edges; the four million
/// branches are not, because compiling them takes minutes. Three functions do to their slots what
/// the compiler's code does.
const FOUR_MILLION: &str = "
#include <stdint.h>
#define IN(name) __attribute__((section(name), used))
enum { EDGES = 4 << 20 };
#ifdef GUARDS
extern void __sanitizer_cov_trace_pc_guard(uint32_t *);
static IN(\"__sancov_guards\") uint32_t guards[EDGES] = {0};
static void touch(int edge) { __sanitizer_cov_trace_pc_guard(&guards[edge]); }
#else
static IN(\"__sancov_cntrs\") volatile uint8_t counters[EDGES] = {0};
static IN(\"__sancov_bools\") volatile uint8_t flags[EDGES] = {0};
static void touch(int edge) { counters[edge]++, flags[edge] = 1; }
#endif
void f0(void) { touch(0); }
void f1(void) { touch(EDGES / 2); }
void f2(void) { touch(EDGES - 1); }
";

#[test]
fn a_library_with_four_million_edges_counts_to_its_end() {
    const EDGES: u32 = 4 << 20;
    for source in [FOUR_MILLION.to_owned(), format!("#define GUARDS\n{FOUR_MILLION}")] {
        let bench = Bench::new();
        let lib = bench.library_of("big", &source, &Build { coverage: &[], ..Build::default() });
        let mut all = vec![with("rt", &runtime()), with("open", &lib)];
        all.extend(script(["call 0 0 1", "call 0 2 3", "total", "hits", "reset", "call 0 1 1", "hits", "modules"]));
        let shared = Shared::new(8 << 20, 0);
        for map in [None, Some(&*shared.variable)] {
            let ran = bench.run_with(&all, map);
            assert_eq!((&ran.numbers[..], ran.stderr.as_str()), (&[i64::from(EDGES), 2, 1, 1][..], ""));
        }
        let base = modules::all(&shared.region)[0].base;
        assert_eq!([EDGES / 2 - 1, EDGES / 2].map(|edge| shared.count(base + edge)), [0, 1]);
        // In a map that is too small: the size that is needed, and the target goes on.
        let small = Shared::new(1 << 20, 0);
        let all = [with("rt", &runtime()), with("open", &lib), "call 0 2 1".into(), "hits".into()];
        let ran = bench.run_with(&all, Some(&small.variable));
        assert_eq!(ran.numbers, [0]);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        let needed = ran.stderr.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(ran.stderr.contains("big.so: 4194304 edges are not counted: map full"), "{}", ran.stderr);
        let enough = Shared::new(needed, 0);
        assert_eq!(bench.run_with(&all, Some(&enough.variable)).numbers, [1], "{}", ran.stderr);
    }
}

#[test]
fn what_constructors_run_is_counted() {
    let source = "
static volatile int sink;
void f0(void) { sink = 0; }
__attribute__((constructor(102))) static void early(void) { sink = 1; }
__attribute__((constructor)) static void late(void) { sink = 2; }
";
    check(source, &[], &[1, 2]);
}

#[test]
fn guards_count_from_the_runtimes_coming_on() {
    // What they touched before went nowhere; inline counters have it in the library's own memory.
    let bench = Bench::new();
    let lib = bench.library("a", &Build { coverage: &[GUARDS], ..Build::default() });
    let mut all = vec![with("open", &lib), "call 0 3 1".into(), with("rt", &runtime())];
    all.extend(script(["hits", "call 0 4 1", "hits", "call 0 3 1", "hits"]));
    assert_eq!(bench.run(&all).numbers, [0, 1, 2]);
}

#[test]
fn what_runs_while_the_process_ends_is_counted() {
    let source = "
#include <stdlib.h>
static volatile int sink;
void f0(void) { sink = 0; }
static void at_exit(void) { sink = 1; }
void f1(void) { atexit(at_exit); }
__attribute__((destructor)) static void last(void) { sink = 3; }
";
    // f1, then at_exit and last, in whatever order the loader has them.
    check(source, &["call 0 1 1", "exit"], &[1, 2, 3]);
}

#[test]
fn what_runs_in_a_signal_handler_is_counted() {
    let source = "
#include <signal.h>
#include <unistd.h>
static volatile int sink;
void f0(void) { kill(getpid(), SIGUSR1); }
static void handler(int number) { sink = number; }
void f1(void) { signal(SIGUSR1, handler); }
";
    check(source, &["call 0 1 1", "call 0 0 1"], &[0, 1, 2]);
    // Two threads send signals that interrupt the third wherever it is: also where it reads the map.
    check(source, &["call 0 1 1", "race 0 5000", "hits"], &[0, 1, 2]);
}

/// An allocator that counts: every function of it is instrumented.
const ALLOCATOR: &str = "
#include <stddef.h>
#include <stdint.h>
#include <string.h>
static char arena[64 << 20];
static size_t used;
void f0(void) {}
void *malloc(size_t size) {
  size_t *block = (size_t *)(arena + __atomic_fetch_add(&used, (size + 31) & ~(size_t)15, __ATOMIC_RELAXED));
  *block = size;
  return block + 2;
}
void free(void *block) { (void)block; }
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void *realloc(void *old, size_t size) {
  void *block = malloc(size);
  if (old) memcpy(block, old, ((size_t *)old)[-2] < size ? ((size_t *)old)[-2] : size);
  return block;
}
int posix_memalign(void **out, size_t align, size_t size) {
  uintptr_t block = (uintptr_t)malloc(size + align + 16);
  block = (block + 16 + align - 1) & ~(uintptr_t)(align - 1);
  ((size_t *)block)[-2] = size;
  *out = (void *)block;
  return 0;
}
void *aligned_alloc(size_t align, size_t size) { void *out; posix_memalign(&out, align, size); return out; }
";

#[test]
fn what_runs_inside_malloc_is_counted() {
    for build in each_way() {
        let bench = Bench::new();
        let shared = Shared::new(100_000, 0);
        let lib = bench.library_of("alloc", ALLOCATOR, &Build { link: &["-fno-builtin"], ..build.clone() });
        // The allocator comes before the runtime, which then allocates with it, also under its lock.
        let mut all = vec![with("rt", &runtime()), with("open", &lib)];
        all.extend(script(["call 0 0 1", "hits", "fork", "call 0 0 1", "hits", "exit", "parent", "total", "hits"]));
        let preload =
            if build.stub { lib.display().to_string() } else { format!("{} {}", runtime().display(), lib.display()) };
        let mut driver = Command::new(bench.driver());
        let ran = bench.run_as(driver.env("LD_PRELOAD", preload), &all, Some(&shared.variable));
        assert_eq!(ran.stderr, "", "{:?}", build.coverage);
        let seen = touched(&shared);
        assert!(
            seen.contains(&0) && seen.contains(&1) && ran.numbers.iter().all(|n| *n > 1),
            "{seen:?} {:?}",
            ran.numbers
        );
    }
}

#[test]
fn processes_within_the_target_leave_the_map_sound() {
    let source = "
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int sink;
static char *nothing[] = {\"true\", NULL};
void f0(void) { sink = 0; }
__attribute__((noinline)) static void in_child(int i) { sink = i; }
__attribute__((noinline)) static void in_grandchild(int i) { sink = i; }
__attribute__((noinline)) static void failed(int i) { sink = i; }
void f1(void) {
  pid_t pid = vfork();
  if (!pid) { in_child(1); execv(\"/bin/true\", nothing); _exit(9); }
  waitpid(pid, NULL, 0);
}
void f2(void) { pid_t pid; if (posix_spawn(&pid, \"/bin/true\", NULL, NULL, nothing, NULL)) failed(1); waitpid(pid, NULL, 0); }
void f3(void) {
  if (!fork()) {
    if (!fork()) { in_grandchild(1); _exit(0); }
    wait(NULL);
    _exit(0);
  }
  wait(NULL);
}
";
    let bench = Bench::new();
    for build in each_way() {
        let lib = bench.library_of("a", source, &build);
        let run = |commands: &[&str], map: Option<&str>| {
            let mut all = vec![with("rt", &runtime()), with("open", &lib)];
            all.extend(commands.iter().map(|command| (*command).to_owned()));
            let ran = bench.run_with(&all, map);
            assert_eq!(ran.stderr, "");
            ran.numbers
        };
        // Alone, a grandchild counts for itself; a child of vfork runs in its parent's memory.
        let alone = run(&["call 0 3 1", "hits", "call 0 1 1", "call 0 2 1", "call 0 0 1", "hits"], None);
        let shared = Shared::new(100_000, 0);
        let together =
            run(&["call 0 3 1", "hits", "call 0 1 1", "call 0 2 1", "call 0 0 1", "hits"], Some(&shared.variable));
        assert!(together[0] > alone[0] && alone[1] > alone[0] && together[1] > alone[1], "{alone:?} {together:?}");
        assert_eq!(modules::all(&shared.region).len(), 1);
    }
}

#[test]
fn a_shell_that_was_given_the_runtime_hands_it_on() {
    let bench = Bench::new();
    let lib = bench.library("a", &Build::default());
    let mut shell = Command::new("sh");
    shell.args(["-c", "sh -c '\"$0\" \"$@\"' \"$0\" \"$@\""]).arg(bench.driver()).env("LD_PRELOAD", runtime());
    let all = [with("rt", &runtime()), with("open", &lib), "call 0 3 1".into(), "hits".into(), "total".into()];
    let ran = bench.run_as(&mut shell, &all, None);
    assert_eq!((&ran.numbers[..], ran.stderr.as_str()), (&[1, 10][..], ""));
}

#[test]
fn edges_are_the_same_in_every_process_whatever_the_order_and_the_address() {
    for link in [&["-Wl,--build-id=sha1"][..], &["-Wl,--build-id=none"]] {
        let bench = Bench::new();
        let build = Build { link, ..Build::default() };
        let libs = [("a", "call L 3 1"), ("b", "call L 7 1"), ("c", "call L 9 1")]
            .map(|(name, call)| (bench.library(name, &build), call));
        let seen = [[0, 1, 2], [2, 0, 1], [2, 1, 0]].map(|order| {
            let shared = Shared::new(100_000, 0);
            let mut all = vec![with("rt", &runtime())];
            all.extend(order.map(|lib: usize| with("open", &libs[lib].0)));
            all.extend((0..3).map(|at| libs[order[at]].1.replace('L', &at.to_string())));
            bench.run_with(&all, Some(&shared.variable));
            let mut edges = Vec::new();
            for module in modules::all(&shared.region) {
                let hit = (0..module.edges).filter(|edge| shared.count(module.base + edge) != 0);
                edges.extend(hit.map(|edge| (module.identity.to_string(), edge)));
            }
            edges.sort();
            edges
        });
        assert_eq!((&seen[0], &seen[0]), (&seen[1], &seen[2]));
        let mut locals: Vec<u32> = seen[0].iter().map(|(_, edge)| *edge).collect();
        locals.sort_unstable();
        assert_eq!(locals, [3, 7, 9]);
        // SHA-1 has 20 bytes, the hash of the code 16.
        let digits = if link[0].ends_with("none") { 32 } else { 40 };
        assert!(seen[0].iter().all(|(identity, _)| identity.len() == digits), "{seen:?}");
    }
}
