//! `hitmap watch`: counts the bits of llvm-covmap's bitmap again and again, as CSV.
//!
//! Does what llvm-covmap's watcher does. Never makes, clears or removes the object.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::bitmap::{self, Bitmap, Covered};
use crate::error::{Failure, exit};
use crate::print;

/// How often it is looked whether the object is there yet.
const LOOK: Duration = Duration::from_millis(100);

/// What the user typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hitmap watch --name /mylib --interval 1
  hitmap watch --name /mylib --output coverage.csv

Each line has the time in seconds since 1970, bits that are set, bits that there are, and their ratio.
When there is no such object yet, it is waited for. It ends with Ctrl-C, or after a last line when
the object is removed.")]
pub struct Typed {
    /// What the shared memory object is called, as in LLVM_COVMAP_SHM_NAME
    #[arg(short = 'p', long, value_name = "NAME")]
    name: String,
    /// Bytes of the bitmap; those that the object has, when it is left out
    #[arg(short = 's', long, value_name = "BYTES", value_parser = bitmap::size)]
    size: Option<u64>,
    /// Seconds between two lines
    #[arg(short = 't', long, value_name = "S", default_value = "10", value_parser = interval)]
    interval: Duration,
    /// Where to write; standard output when it is left out
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds >= 0.001);
    let interval = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    interval.ok_or_else(|| "not a number of seconds from 0.001 on".to_owned())
}

/// Watches until it is interrupted or the object is gone; both are a good end.
///
/// # Errors
/// With a message for the user.
pub fn run(typed: &Typed) -> Result<i32, Failure> {
    let stop = stop()?;
    let Some(bitmap) = open(typed, &stop)? else { return Ok(exit::CLEAN) };
    let mut out: Box<dyn Write> = match &typed.output {
        Some(path) => Box::new(File::create(path).map_err(Failure::file("cannot write", path))?),
        None => Box::new(io::stdout()),
    };
    match watch(&bitmap, typed.interval, &stop, &mut out)? {
        Ok(()) => Ok(exit::CLEAN),
        // `hitmap watch | head`: who reads has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::CLEAN),
        Err(error) => Err(Failure::usage(format!("cannot write the table: {error}"))),
    }
}

/// A channel that hears of Ctrl-C and SIGTERM.
fn stop() -> Result<Receiver<()>, Failure> {
    let (sender, receiver) = std::sync::mpsc::channel();
    super::listen(move || {
        let _ = sender.send(());
    })?;
    Ok(receiver)
}

/// The object, once it is there; `None` when that was interrupted.
fn open(typed: &Typed, stop: &Receiver<()>) -> Result<Option<Bitmap>, Failure> {
    let mut told = false;
    loop {
        if let Some(bitmap) = Bitmap::open(&typed.name, typed.size)? {
            return Ok(Some(bitmap));
        }
        if !told {
            let name = &typed.name;
            print::remark(format_args!(
                "hitmap: waiting for {name}; start the program with LLVM_COVMAP_SHM_NAME={name}"
            ));
            told = true;
        }
        if is_over(stop, LOOK) {
            return Ok(None);
        }
    }
}

fn is_over(stop: &Receiver<()>, after: Duration) -> bool {
    !matches!(stop.recv_timeout(after), Err(RecvTimeoutError::Timeout))
}

fn watch(
    bitmap: &Bitmap,
    interval: Duration,
    stop: &Receiver<()>,
    out: &mut dyn Write,
) -> Result<io::Result<()>, Failure> {
    if let Err(error) = out.write_all(b"time,covered,total,ratio\n") {
        return Ok(Err(error));
    }
    loop {
        // Asked first: what was set until it was removed is then in the last line.
        let is_last = bitmap.is_removed();
        let line = line(crate::campaign::unix_time(), bitmap.count()?);
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
            return Ok(Err(error));
        }
        if is_last || rest(bitmap, interval, stop) {
            return Ok(Ok(()));
        }
    }
}

/// Waits until the next line is due or the object is gone; true when it was interrupted.
fn rest(bitmap: &Bitmap, interval: Duration, stop: &Receiver<()>) -> bool {
    let mut left = interval;
    while !left.is_zero() && !bitmap.is_removed() {
        let nap = left.min(LOOK);
        if is_over(stop, nap) {
            return true;
        }
        left -= nap;
    }
    false
}

fn line(time: u64, covered: Covered) -> String {
    format!("{time},{},{},{}", covered.covered, covered.total, covered.ratio())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_llvm_covmaps() {
        assert_eq!(line(1700000000, Covered { covered: 2, total: 64 }), "1700000000,2,64,0.03125");
        assert_eq!(line(0, Covered { covered: 0, total: 8388608 }), "0,0,8388608,0");
    }

    #[test]
    fn intervals_are_positive() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert!(["0", "-1", "inf", "NaN", "x", "1e300"].iter().all(|text| interval(text).is_err()));
    }

    #[test]
    fn a_last_line_follows_the_removal() {
        let name = format!("/hitmap-unit-watch-{}", std::process::id());
        let made = Bitmap::create(&name, 8).unwrap();
        let seen = Bitmap::open(&name, Some(8)).unwrap().expect("it is there");
        drop(made);
        let (_sender, stop) = std::sync::mpsc::channel();
        let mut out = Vec::new();
        watch(&seen, Duration::from_secs(3600), &stop, &mut out).unwrap().unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("time,covered,total,ratio\n") && out.ends_with(",0,64,0\n"), "{out}");
        assert_eq!(out.lines().count(), 2);
    }
}
