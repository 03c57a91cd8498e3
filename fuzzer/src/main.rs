//! The cargo binary: the same command line as the Python package's, for a Python found by name.

use std::ffi::OsString;

use hitmap_fuzzer::Front;

fn main() {
    let this = std::env::current_exe().map_or_else(|_| "hitmap".into(), OsString::from);
    let front = Front { hitmap: vec![this], python: "python3".into() };
    std::process::exit(hitmap_fuzzer::cli::main(std::env::args_os().collect(), front));
}
