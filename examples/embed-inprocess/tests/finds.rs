//! The example, run as its README says.

mod built;

use std::path::Path;
use std::process::Command;

#[test]
fn the_planted_bug_is_found_and_its_input_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = folder.path().join("libicon.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("icon.cpp");
    built::instrumented(&source, &library, &["-shared"]);
    let crashes = folder.path().join("crashes");
    // The runtime comes with the library, or by the folder that the linker is told of.
    let mut fuzz = Command::new(env!("CARGO_BIN_EXE_embed-inprocess"));
    let test = std::env::current_exe().expect("the test's own path");
    fuzz.env("LD_LIBRARY_PATH", test.parent().and_then(Path::parent).expect("the profile's folder"));
    let run = fuzz.arg(&library).arg("2000000").arg(&crashes).output().expect("the fuzzer starts");
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success(), "it ends with the crash\n{said}");
    let kept = std::fs::read_dir(&crashes).expect("the folder of crashes").filter_map(Result::ok);
    let inputs: Vec<Vec<u8>> = kept
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| std::fs::read(entry.path()).expect("an input"))
        .collect();
    assert_eq!(inputs.len(), 1, "{said}");
    assert!(matches!(inputs[0][..], [b'I', b'C', 7, width, height, ..] if width == height), "{:?}", inputs[0]);
}
