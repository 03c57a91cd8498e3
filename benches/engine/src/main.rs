//! Parts of hitmap's engine beside the parts of LibAFL whose place they take.
//!
//! `hitmap-bench-engine PART WAY SEED` prints one figure; WAY is `hitmap` or `stock`.
//!
//! - `schedule`: nanoseconds to pick the next entry;
//! - `mutate`: nanoseconds to make a mutant by chance;
//! - `maze`: mutants by chance until six nested compares of a byte are passed;
//! - `replace`: runs until four nested compares of 32 bits are passed, by what was compared.

mod compares;
mod havoc;
mod schedule;

use std::process::ExitCode;

use libafl::Error;

/// Whose part is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// hitmap's.
    Hitmap,
    /// LibAFL's.
    Stock,
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(figure) => {
            println!("{figure}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hitmap-bench-engine: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<u64, Error> {
    let wrong = || Error::illegal_argument("give schedule, mutate, maze or replace; hitmap or stock; a seed");
    let [part, way, seed] = arguments else { return Err(wrong()) };
    let seed = seed.parse().map_err(|_| wrong())?;
    let way = match way.as_str() {
        "hitmap" => Way::Hitmap,
        "stock" => Way::Stock,
        _ => return Err(wrong()),
    };
    match part.as_str() {
        "schedule" => schedule::nanoseconds(way, seed),
        "mutate" => havoc::nanoseconds(way, seed),
        "maze" => havoc::mutants(way, seed),
        "replace" => compares::runs(way, seed),
        _ => Err(wrong()),
    }
}
