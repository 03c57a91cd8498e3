//! llvm-covmap's bitmap, seen by another process.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::fixture::{Bench, Build, GUARDS, clang, linkers, ok, runtime, with};

/// A bitmap's name, and its file; removed when the test ends.
struct Named {
    name: String,
    file: PathBuf,
}

impl Named {
    fn new() -> Named {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("/hitmap-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Named { file: PathBuf::from(format!("/dev/shm{name}")), name }
    }

    fn create(&self, bytes: &[u8]) {
        std::fs::write(&self.file, bytes).unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.file).expect("the object is there")
    }

    /// Bits that are set.
    fn bits(&self) -> Vec<usize> {
        let bytes = self.bytes();
        (0..bytes.len() * 8).filter(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1).collect()
    }

    /// The driver with the runtime loaded, under this name.
    fn driver(&self, bench: &Bench, size: Option<&str>, commands: &[&str]) -> Command {
        let mut driver = Command::new(bench.driver());
        driver.arg(with("rt", &runtime())).args(commands);
        driver.env("LLVM_COVMAP_SHM_NAME", &self.name).env_remove("LLVM_COVMAP_SHM_SIZE").env_remove("HITMAP_MAP");
        if let Some(size) = size {
            driver.env("LLVM_COVMAP_SHM_SIZE", size);
        }
        driver
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Runs commands to their end; returns what was said on standard error.
#[track_caller]
fn run(named: &Named, size: Option<&str>, commands: &[&str]) -> String {
    let ran = named.driver(&Bench::new(), size, commands).output().unwrap();
    String::from_utf8_lossy(&ran.stderr).into_owned()
}

/// Runs commands up to `say`, looks, and lets it go on.
#[track_caller]
fn while_running(named: &Named, size: Option<&str>, commands: &[&str], look: impl FnOnce()) {
    let bench = Bench::new();
    let mut driver = named.driver(&bench, size, commands);
    let mut running = driver.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "-1\n");
    look();
    running.stdin.take().unwrap().write_all(b"!").unwrap();
    assert!(running.wait().unwrap().success());
}

#[test]
fn another_process_reads_the_bits_live() {
    let named = Named::new();
    // 64 bits: 3 and 67 are one bit. The last id is the largest there is.
    let commands = ["function 3", "function 67", "function 10", "function 18446744073709551615", "say"];
    while_running(&named, Some("8"), &commands, || assert_eq!(named.bits(), [3, 10, 63]));
}

#[test]
fn a_size_that_is_no_power_of_two_is_a_modulo() {
    let named = Named::new();
    while_running(&named, Some("24"), &["function 1000", "function 191", "say"], || {
        assert_eq!(named.bits(), [1000 % 192, 191]);
    });
}

#[test]
fn the_object_is_the_bitmap_and_nothing_else() {
    let named = Named::new();
    while_running(&named, None, &["function 0", "say"], || {
        let bytes = named.bytes();
        assert_eq!((bytes.len(), bytes[0]), (1 << 20, 1));
        assert!(bytes[1..].iter().all(|byte| *byte == 0));
    });
}

#[test]
fn its_creator_removes_it_at_a_normal_exit() {
    for end in [&[][..], &["exit"]] {
        let named = Named::new();
        let commands = [&["function 1"], end].concat();
        assert_eq!(run(&named, Some("64"), &commands), "");
        assert!(!named.file.exists());
    }
}

#[test]
fn a_crash_leaves_it_for_the_reader_and_the_next_run_adds_to_it() {
    let named = Named::new();
    run(&named, Some("64"), &["function 1", "kill"]);
    assert_eq!(named.bits(), [1]);
    run(&named, Some("64"), &["function 2"]);
    assert_eq!(named.bits(), [1, 2], "who joins neither clears nor removes");
}

#[test]
fn an_object_that_a_reader_made_stays() {
    let named = Named::new();
    named.create(&[0; 16]);
    run(&named, Some("16"), &["function 100"]);
    assert_eq!(named.bits(), [100]);
}

#[test]
fn a_forked_child_sets_bits_and_removes_nothing() {
    let named = Named::new();
    let commands = ["function 1", "fork", "function 2", "exit", "parent", "say"];
    while_running(&named, Some("64"), &commands, || assert_eq!(named.bits(), [1, 2]));
    assert!(!named.file.exists(), "its creator removed it at the end");
}

#[test]
fn an_object_that_took_the_name_meanwhile_is_not_removed() {
    let named = Named::new();
    while_running(&named, Some("64"), &["function 1", "say"], || {
        std::fs::remove_file(&named.file).unwrap();
        named.create(b"another's");
    });
    assert_eq!(named.bytes(), b"another's");
}

#[test]
fn two_processes_share_one_bitmap() {
    let named = Named::new();
    while_running(&named, Some("64"), &["function 1", "say"], || {
        run(&named, Some("64"), &["function 2"]);
        assert_eq!(named.bits(), [1, 2]);
    });
    assert!(!named.file.exists());
}

#[test]
fn a_wrong_size_is_a_sentence_and_the_target_runs_on() {
    for (size, says) in [("12", "multiple of 8"), ("many", "multiple of 8"), ("0", "multiple of 8")] {
        let named = Named::new();
        let said = run(&named, Some(size), &["function 1"]);
        assert!(said.contains(says) && said.lines().count() == 1, "{said}");
        assert!(!named.file.exists());
    }
    let named = Named::new();
    named.create(&[0; 16]);
    let said = run(&named, Some("8"), &["function 1"]);
    assert!(said.contains("LLVM_COVMAP_SHM_SIZE=16") && said.lines().count() == 1, "{said}");
    assert_eq!(named.bits(), [0usize; 0]);
}

#[test]
fn more_than_there_is_room_for_is_a_sentence() {
    let named = Named::new();
    let said = run(&named, Some("1152921504606846976"), &["function 1"]);
    assert!(said.contains("no room") && said.lines().count() == 1, "{said}");
    assert!(!named.file.exists());
}

#[test]
fn without_a_name_nothing_is_recorded() {
    let bench = Bench::new();
    let ran = bench.run(&[with("rt", &runtime()), "function 1".to_owned()]);
    assert_eq!((ran.numbers.len(), ran.stderr.as_str()), (0, ""));
}

const FUNCTIONS: &str = "-fsanitize-coverage=func,trace-pc-guard,pc-table";

/// `names.c` with these functions before the three that are called.
fn library_of_functions(bench: &Bench, before: &str, options: &[&str]) -> PathBuf {
    let (source, out) = (bench.at("names", "c"), bench.at("names", "so"));
    let functions = "static volatile int s;\n__attribute__((noinline)) static void local(void) { s = 3; }\n\
                     __attribute__((visibility(\"hidden\"))) void one(void) { if (s) s = 1; }\n\
                     void f0(void) { one(); local(); }\nvoid f1(void) { s = 9; }\n";
    std::fs::write(&source, format!("{before}\n{functions}")).unwrap();
    let mut clang = clang();
    clang.args(["-O1", "-fPIC", "-shared", "-fno-inline", "-fno-optimize-sibling-calls"]);
    ok(clang.args(options).arg(source).arg("-o").arg(&out));
    out
}

/// The low bits of XXH3 of `f0`, `names.c:local` and `one`, by the reference implementation.
const CALLED: [usize; 3] = [37, 416, 5913];

#[test]
fn guards_with_addresses_set_the_bits_of_their_functions_live() {
    for before in ["", "void later(void) {}\nint more(int n) { return n > 3 ? n * n : 1; }"] {
        let (named, bench) = (Named::new(), Bench::new());
        for linker in linkers() {
            let options: Vec<&str> = linker.iter().map(String::as_str).chain([FUNCTIONS]).collect();
            let library = library_of_functions(&bench, before, &options);
            let commands = [with("open", &library), "call 0 0 3".to_owned(), "say".to_owned()];
            let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
            while_running(&named, Some("1024"), &commands, || assert_eq!(named.bits(), CALLED, "{before}"));
        }
    }
}

#[test]
fn a_library_with_our_stub_sets_the_bits_of_its_functions_live() {
    for coverage in [FUNCTIONS, "-fsanitize-coverage=edge,trace-pc-guard,pc-table"] {
        let (named, bench) = (Named::new(), Bench::new());
        let stub = bench.stub_object().display().to_string();
        let library = library_of_functions(&bench, "", &[coverage, &stub]);
        let commands = [with("open", &library), "call 0 0 3".to_owned(), "say".to_owned()];
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        while_running(&named, Some("1024"), &commands, || assert_eq!(named.bits(), CALLED));
    }
}

#[test]
fn a_stripped_library_names_its_functions_as_far_as_it_can() {
    let (named, bench) = (Named::new(), Bench::new());
    let library = library_of_functions(&bench, "", &[FUNCTIONS, "-s"]);
    let commands = [with("open", &library), "call 0 0 1".to_owned(), "say".to_owned()];
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    while_running(&named, Some("1024"), &commands, || {
        let bits = named.bits();
        assert_eq!(bits.len(), 3, "the local function has a bit by its place");
        assert!(bits.contains(&5913), "{bits:?}");
    });
}

#[test]
fn a_library_whose_functions_cannot_be_recorded_is_named_once() {
    let without = Build { coverage: &[GUARDS], ..Build::default() };
    let prebuilt = Build { stub: false, isolate: false, ..without.clone() };
    for build in [Build::default(), without, prebuilt] {
        let (named, bench) = (Named::new(), Bench::new());
        let library = bench.library("a", &build);
        let said = run(&named, None, &[&with("open", &library), "call 0 0 1", "hits", "fork", "exit", "parent"]);
        assert!(said.contains("a.so") && said.contains("func,trace-pc-guard,pc-table"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(run(&named, Some("many"), &[&with("open", &library)]).lines().count(), 1);
    }
}
