//! `hitmap run`: runs a command with llvm-covmap's bitmap and says how much of it was set.
//!
//! Does what llvm-covmap's shell does. The object is made here, so it is there before the command and
//! is removed after it, however the command ends. Signals that other processes send to us are passed
//! on; those of the terminal reach the command by themselves.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

use super::bitmap::{self, Bitmap, Covered};
use crate::error::{Failure, exit};
use crate::launcher::screen::grouped;
use crate::print;

/// What the user typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hitmap run -- python script.py
  hitmap-clang++ --hitmap-live main.cpp -o main && hitmap run -- ./main
  hitmap run --name /mylib -- ./server &  hitmap watch --name /mylib

The command finds LLVM_COVMAP_SHM_NAME and LLVM_COVMAP_SHM_SIZE in its environment. Functions are counted
in what hitmap-clang++ --hitmap-live built, or the flags of `hitmap flags --live`: it brings the runtime along. In a
process that has the runtime, as by `import hitmap`, they are also counted in what is compiled with
-fsanitize-coverage=func,trace-pc-guard,pc-table or llvm-covmap's pass. The exit code is the command's; 128 and the signal's number when a
signal ended it.")]
pub struct Typed {
    /// What the shared memory object is called; a name of its own when it is left out
    #[arg(short = 'p', long, value_name = "NAME")]
    name: Option<String>,
    /// Bytes of the bitmap, a multiple of 8; a power of two is best
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = bitmap::DEFAULT_SIZE, value_parser = bitmap::size)]
    size: u64,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command and returns its exit code.
///
/// # Errors
/// With a message for the user, when the command was not started.
pub fn run(typed: &Typed) -> Result<i32, Failure> {
    let name = typed.name.clone().unwrap_or_else(|| format!("/hitmap-run-{}", std::process::id()));
    // Before the object is there: from here on no signal can end us and leave it behind.
    let signals = Signals::block().map_err(|e| Failure::internal(format!("cannot block signals: {e}")))?;
    let bitmap = Bitmap::create(&name, typed.size)?;
    let mut command = Command::new(&typed.command[0]);
    command.args(&typed.command[1..]);
    command.env("LLVM_COVMAP_SHM_NAME", &name).env("LLVM_COVMAP_SHM_SIZE", typed.size.to_string());
    let mask = signals.before;
    // SAFETY: sigprocmask may be called between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut()) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
    };
    let mut child = command.spawn().map_err(|e| {
        Failure::usage(format!("cannot start {}: {e}; name a program after --", typed.command[0].to_string_lossy()))
    })?;
    let status =
        signals.wait(&mut child).map_err(|e| Failure::internal(format!("cannot wait for the command: {e}")))?;
    print::remark(line(bitmap.count()?));
    Ok(code(status))
}

fn line(covered: Covered) -> String {
    let bits = format!("hitmap: {} of {} bits covered", grouped(covered.covered), grouped(covered.total));
    match covered.covered {
        0 => format!(
            "{bits}; build with hitmap-clang++ --hitmap-live, or the flags of `hitmap flags --live`, and in Python \
             import hitmap before the library"
        ),
        _ => format!("{bits} ({:.3} %)", covered.ratio() * 100.0),
    }
}

/// The exit code as shells have it.
fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(exit::INTERNAL)
}

/// Signals that would end us, taken one by one instead.
struct Signals {
    taken: libc::sigset_t,
    before: libc::sigset_t,
}

impl Signals {
    fn block() -> io::Result<Signals> {
        // SAFETY: a signal set is plain data, and the calls below fill both.
        let mut signals: Signals = unsafe { std::mem::zeroed() };
        // SAFETY: both sets are ours.
        let failed = unsafe {
            libc::sigemptyset(&mut signals.taken);
            for signal in [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
                libc::sigaddset(&mut signals.taken, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &signals.taken, &mut signals.before)
        };
        if failed != 0 { Err(io::Error::from_raw_os_error(failed)) } else { Ok(signals) }
    }

    /// Waits for the child, and passes on what it does not get by itself.
    fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            // SAFETY: plain data, which the call fills.
            let mut about: libc::siginfo_t = unsafe { std::mem::zeroed() };
            // SAFETY: both are ours.
            let signal = unsafe { libc::sigwaitinfo(&self.taken, &mut about) };
            // The terminal sends to all of its foreground group, the child among them.
            if signal > 0 && signal != libc::SIGCHLD && about.si_code <= 0 {
                // SAFETY: the child was not waited for yet, so the number is still its own.
                unsafe { libc::kill(child.id() as libc::pid_t, signal) };
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: the set is what the mask was.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(code(ExitStatus::from_raw(libc::SIGABRT)), 134);
    }

    #[test]
    fn nothing_recorded_says_what_to_do() {
        assert!(line(Covered { covered: 0, total: 64 }).contains("--hitmap-live"));
        assert_eq!(line(Covered { covered: 16, total: 1600 }), "hitmap: 16 of 1,600 bits covered (1.000 %)");
    }
}
