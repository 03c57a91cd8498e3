//! The example, run as its README says: somebody else starts the server, and starts it again.

#[path = "../../embed-inprocess/tests/built/mod.rs"]
mod built;

use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn a_server_that_dies_and_comes_back_is_fuzzed_on_with_the_same_numbers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = folder.path().join("server");
    built::instrumented(&Path::new(env!("CARGO_MANIFEST_DIR")).join("server.cpp"), &server, &[]);
    let name = format!("/hitmap-embed-foreign-{}", std::process::id());
    let socket = folder.path().join("socket");
    let mut fuzz = Command::new(env!("CARGO_BIN_EXE_embed-foreign"));
    fuzz.arg(&name).arg(&socket).args(["3", "200000"]).stdout(Stdio::piped());
    let fuzzer = fuzz.spawn().expect("the fuzzer starts");
    // The map is there before any server joins it.
    let object = Path::new("/dev/shm").join(&name[1..]);
    while !object.exists() {
        std::thread::yield_now();
    }
    for life in 1..=3 {
        let mut server = Command::new(&server);
        let ended = server.arg(&socket).env("HITMAP_MAP", &name).stderr(Stdio::null()).status();
        assert!(!ended.expect("the server starts").success(), "life {life} ends with the bug");
    }
    let output = fuzzer.wait_with_output().expect("the fuzzer ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let places: Vec<&str> =
        said.lines().filter_map(|line| line.split_once("edges begin at ")).map(|(_, at)| at).collect();
    assert_eq!(places, ["[4096]"; 3], "{said}");
    assert!(!object.exists(), "the fuzzer removes the map");
}
