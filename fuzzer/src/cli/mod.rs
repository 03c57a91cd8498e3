//! The command line: what the user typed, checked and turned into what the program means.
//!
//! One command line, reached from the cargo binary and from the Python package.

pub mod bench;
pub mod bitmap;
pub mod diff;
pub mod engine;
pub mod export;
pub mod functions;
pub mod fuzz;
pub mod inputs;
pub mod maps;
pub mod merge;
pub mod origin;
pub mod relocate;
pub mod replay;
pub mod run;
pub mod show;
pub mod spelling;
pub mod units;
pub mod watch;
pub mod worker;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{CommandFactory, Parser, Subcommand};

use crate::error::{Failure, exit};
use crate::launcher::Front;
use crate::print;

/// Coverage-guided fuzzing of C++ libraries that are used from Python.
#[derive(Debug, Parser)]
#[command(name = "hitmap", version, disable_help_subcommand = true, after_help = EXAMPLES, max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  hitmap build ujson==5.1.0                    build a package with coverage
  hitmap fuzz harness.py -i corpora/json       fuzz it on one core
  hitmap fuzz harness.py -o out -j 8           go on, on eight cores
  hitmap replay out/findings/*/input           run a finding again
  hitmap bench harness.py -i corpora/json      where the time of a run goes

Exit codes: 0 no finding, 1 findings, 2 interrupted, 3 internal error, 4 usage.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Fuzz a harness; run again on the same folder to go on.
    Fuzz(fuzz::Typed),
    /// Run inputs again, each in a fresh process, and show what becomes of them.
    Replay(replay::Typed),
    /// Put a finding into one file, with all that it takes to run it elsewhere.
    Export(export::Typed),
    /// Say where the time of a run goes, and what would help.
    Bench(bench::Typed),
    /// Make one snapshot of many: the edges of any of them.
    Merge(merge::Typed),
    /// Compare two or three snapshots: edges that only one has, and those of several.
    Diff(diff::Typed),
    /// Show what a snapshot or a campaign covers, library by library.
    #[command(alias = "coverage")]
    Show(show::Typed),
    /// Run a command and say how many functions it reached (llvm-covmap's bitmap).
    Run(run::Typed),
    /// Watch such a bitmap while a program sets it, as CSV.
    Watch(watch::Typed),
    /// Make a snapshot of maps that memcov's users saved (see `hitmap import --help`).
    #[command(disable_help_flag = true)]
    Import(Forwarded),
    /// Build a package or a source tree with coverage (see `hitmap build --help`).
    #[command(disable_help_flag = true)]
    Build(Forwarded),
    /// Print the compile and link flags for any build system (see `hitmap flags --help`).
    #[command(disable_help_flag = true)]
    Flags(Forwarded),
    /// One engine of a campaign; started by `hitmap fuzz`.
    #[command(hide = true)]
    Engine(engine::Typed),
}

/// Arguments of a verb that the Python package implements.
#[derive(Debug, clap::Args)]
struct Forwarded {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the command line and returns its exit code. `arguments` begin with the program's name.
pub fn main(arguments: Vec<OsString>, front: Front) -> i32 {
    open_standard_streams();
    let arguments = match spelling::respell(arguments, &Arguments::command()) {
        Ok(arguments) => arguments,
        Err(failure) => {
            print::remark(format_args!("hitmap: {failure}"));
            return failure.code;
        }
    };
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE } else { exit::CLEAN };
        }
    };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(arguments.verb, &front)));
    match ran {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => {
            print::remark(format_args!("hitmap: {failure}"));
            failure.code
        }
        Err(_) => {
            print::remark("hitmap: internal error, see above; please report it with what you typed");
            exit::INTERNAL
        }
    }
}

fn run(verb: Verb, front: &Front) -> Result<i32, Failure> {
    match verb {
        Verb::Fuzz(typed) => {
            end_with_the_pipe();
            fuzz::run(typed, front, stop_flag()?)
        }
        Verb::Replay(typed) => {
            end_with_the_pipe();
            replay::run(&typed, front)
        }
        Verb::Export(typed) => export::run(&typed),
        Verb::Bench(typed) => bench::run(&typed, front, &*stop_flag()?),
        Verb::Merge(typed) => merge::run(&typed, &*stop_flag()?),
        Verb::Diff(typed) => {
            end_with_the_pipe();
            diff::run(&typed)
        }
        Verb::Show(typed) => {
            end_with_the_pipe();
            show::run(&typed)
        }
        Verb::Run(typed) => run::run(&typed),
        Verb::Watch(typed) => watch::run(&typed),
        Verb::Import(forwarded) => python(front, &["hitmap.compat.maps"], forwarded),
        Verb::Build(forwarded) => python(front, &["hitmap.build"], forwarded),
        Verb::Flags(forwarded) => python(front, &["hitmap.build", "flags"], forwarded),
        Verb::Engine(typed) => engine::run(typed),
    }
}

/// Opens standard input, output and error on nothing where they are closed: the next file that is
/// opened would get the number, and be taken for the stream by every process that is started.
fn open_standard_streams() {
    for stream in 0..=2 {
        // SAFETY: asks about a descriptor by its number; the path is a C string. The lowest number that
        // is free is the one asked about.
        unsafe {
            if libc::fcntl(stream, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
}

/// Lets `hitmap … | head` end as other tools do. Engines keep ignoring a broken pipe: they must save
/// what they have when their launcher is gone.
fn end_with_the_pipe() {
    // SAFETY: sets a signal to its default; no handler of ours is replaced.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// A flag that Ctrl-C and SIGTERM raise.
fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    listen(move || raised.store(true, Ordering::Relaxed))?;
    Ok(stop)
}

/// Has Ctrl-C and SIGTERM call `heard`, on a thread of its own.
fn listen(heard: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    let what = "cannot listen for Ctrl-C";
    ctrlc::set_handler(heard).map_err(|error| match error {
        ctrlc::Error::System(error) => Failure::system(what)(error),
        other => Failure::internal(format!("{what}: {other}")),
    })
}

/// Becomes a module of the Python package: a signal that ends this command reaches that one.
fn python(front: &Front, module: &[&str], forwarded: Forwarded) -> Result<i32, Failure> {
    let mut command = std::process::Command::new(&front.python);
    let error = command.arg("-m").args(module).args(forwarded.arguments).exec();
    Err(Failure::usage(format!(
        "cannot start {}: {error}; it must be a Python with hitmap installed",
        front.python.to_string_lossy()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_fits_a_terminal_of_80_columns() {
        let mut command = Arguments::command();
        command.build();
        let mut texts = vec![command.render_long_help().to_string()];
        texts.extend(command.get_subcommands_mut().map(|verb| verb.render_long_help().to_string()));
        for line in texts.iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
