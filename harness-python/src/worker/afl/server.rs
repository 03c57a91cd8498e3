//! The server: answers the fuzzer's requests, and forks, kills and reaps one child at a time.
//!
//! Owns the pipes and the child's process. Runs no input. It reads the region only when the child
//! cannot do it any more.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use hitmap_wire::control;
use pyo3::intern;
use pyo3::prelude::*;

use super::child::{self, Child};
use super::input::Inputs;
use super::map::AflMap;
use super::protocol::Pipes;
use crate::worker::barrier;
use crate::worker::forked::Forked;
use crate::worker::outcome::Harness;

/// The exit code of a server that cannot go on.
const BROKEN: i32 = 3;

/// Inputs that one child runs: what they leak goes with it. AFL++ advises as many for `__AFL_LOOP`.
const RUNS: u32 = 10_000;

/// Serves one fuzzer.
pub struct Server<'a, 'py> {
    py: Python<'py>,
    host: &'a Bound<'py, PyAny>,
    pipes: Option<Pipes>,
    /// What every child is a copy of.
    child: Child,
    live: Option<Live>,
}

/// The child that is there.
struct Live {
    forked: Forked,
    wake: OwnedFd,
    done: OwnedFd,
    runs: u32,
}

enum Event {
    Done,
    Ended,
    FuzzerGone,
}

impl<'a, 'py> Server<'a, 'py> {
    /// A server without a child. Without `pipes` it can only run one input alone.
    pub fn new(
        py: Python<'py>,
        host: &'a Bound<'py, PyAny>,
        harness: Harness,
        map: AflMap,
        inputs: Inputs,
        pipes: Option<Pipes>,
    ) -> Self {
        let child = Child { inputs, map, harness, explains: pipes.is_none() };
        Server { py, host, pipes, child, live: None }
    }

    /// Answers requests until the fuzzer is gone; returns the exit code. `first` is a request that was
    /// read already.
    ///
    /// # Errors
    /// What the system reports, or what forking raises.
    pub fn serve(&mut self, mut first: Option<u32>) -> PyResult<i32> {
        loop {
            let request = match first.take() {
                Some(request) => Some(request),
                None => self.next_request()?,
            };
            let Some(was_killed) = request else { return self.stop(0) };
            if !self.map_fits() {
                return self.stop(BROKEN);
            }
            let pid = self.ready(was_killed != 0)?;
            if !self.tell(pid)? {
                return self.stop(0);
            }
            let Some(status) = self.run()? else { return self.stop(0) };
            if !self.tell(status)? {
                return self.stop(0);
            }
        }
    }

    /// Runs the one input that is there, and ends as it ended: by its signal, or with the exit code that
    /// is returned.
    ///
    /// # Errors
    /// What the system reports, or what forking raises.
    pub fn run_alone(&mut self) -> PyResult<i32> {
        if !self.map_fits() {
            return Ok(BROKEN);
        }
        self.ready(false)?;
        let status = self.run()?.unwrap_or(0);
        self.stop(0)?;
        if libc::WIFSIGNALED(status) {
            // SAFETY: the signal's default is what ends this process; it was the child's end already.
            unsafe {
                libc::signal(libc::WTERMSIG(status), libc::SIG_DFL);
                libc::raise(libc::WTERMSIG(status));
            }
        }
        Ok(libc::WEXITSTATUS(status))
    }

    fn next_request(&mut self) -> io::Result<Option<u32>> {
        // Detached, so that threads which the import started can run.
        let Server { py, pipes, .. } = self;
        pipes.as_mut().map_or(Ok(None), |pipes| py.detach(|| pipes.ask()))
    }

    /// Whether it was heard.
    fn tell(&mut self, word: i32) -> io::Result<bool> {
        match self.pipes.as_mut().map_or(Ok(()), |pipes| pipes.tell(word as u32)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Says, before a run, what cannot be counted. A fuzzer that heard the size in the hello and goes on
    /// with a smaller map would miss edges without a word.
    fn map_fits(&mut self) -> bool {
        let map = &mut self.child.map;
        for module in map.late() {
            eprintln!(
                "hitmap.worker: {} was loaded after the fuzzer had been told the size of the map: its {} edges are not \
                 counted; import it at the top of the harness's file",
                module.path, module.edges
            );
        }
        let (size, room) = (map.told(), map.room());
        if size > room {
            eprintln!("hitmap.worker: the map has {size} bytes, the fuzzer's {room}: set AFL_MAP_SIZE={size}");
        }
        size <= room
    }

    /// Sees to it that there is a child; gives its process id.
    fn ready(&mut self, was_killed: bool) -> PyResult<i32> {
        if let Some(live) = &self.live
            // The fuzzer's kill may have come after the answer, and a child may die of what it started.
            && (was_killed || live.runs == RUNS || is_readable(live.forked.ended())?)
        {
            self.end_child()?;
        }
        let mut live = match self.live.take() {
            Some(live) => live,
            None => self.fork()?,
        };
        live.runs += 1;
        let pid = live.forked.pid;
        self.live = Some(live);
        Ok(pid)
    }

    fn fork(&mut self) -> PyResult<Live> {
        let (wake, done) = (control::event()?, control::event()?);
        let server = std::process::id() as i32;
        let pid: i32 = barrier::call_method(self.host, intern!(self.py, "fork"), ())?.extract()?;
        if pid == 0 {
            // The server alone speaks there, and the fuzzer must see the end of it when the server dies.
            if let Some(pipes) = self.pipes.take() {
                pipes.close();
            }
            self.child.live(self.py, wake, done, server);
        }
        Ok(Live { forked: Forked::new(pid)?, wake, done, runs: 0 })
    }

    /// Has the child run the input that is there; gives the wait status, `None` when the fuzzer is gone.
    fn run(&mut self) -> PyResult<Option<i32>> {
        let Some(live) = &self.live else { return Ok(None) };
        control::wake(live.wake.as_fd())?;
        let (done, ended) = (live.done.as_fd(), live.forked.ended());
        let fuzzer = self.pipes.as_ref().map(Pipes::fuzzer);
        match self.py.detach(|| next_event(done, ended, fuzzer))? {
            Event::FuzzerGone => Ok(None),
            Event::Done => match child::told(control::wait(done)?) {
                Some(status) => Ok(Some(status)),
                // Somebody else wrote there: the target has gone mad, and has to go.
                None => {
                    live.forked.kill(libc::SIGKILL);
                    self.bury()
                }
            },
            Event::Ended => self.bury(),
        }
    }

    /// Reaps a child that died of its input, and reads in its place what it touched.
    fn bury(&mut self) -> PyResult<Option<i32>> {
        let Some(live) = self.live.take() else { return Ok(None) };
        let over = live.forked.reap()?;
        self.child.map.child_ended();
        self.child.map.take();
        Ok(Some(over.status))
    }

    fn end_child(&mut self) -> io::Result<()> {
        if let Some(live) = self.live.take() {
            live.forked.kill(libc::SIGKILL);
            live.forked.reap()?;
            self.child.map.child_ended();
        }
        Ok(())
    }

    fn stop(&mut self, code: i32) -> PyResult<i32> {
        self.end_child()?;
        Ok(code)
    }
}

fn next_event(done: BorrowedFd<'_>, ended: BorrowedFd<'_>, fuzzer: Option<BorrowedFd<'_>>) -> io::Result<Event> {
    // poll skips an entry with a negative descriptor, and tells of a hang-up unasked.
    let fuzzer = fuzzer.map_or(-1, |fd| fd.as_raw_fd());
    let ready = wait_for([(done.as_raw_fd(), libc::POLLIN), (ended.as_raw_fd(), libc::POLLIN), (fuzzer, 0)], -1)?;
    Ok(match ready {
        [true, ..] => Event::Done,
        [_, true, _] => Event::Ended,
        _ => Event::FuzzerGone,
    })
}

fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(wait_for([(fd.as_raw_fd(), libc::POLLIN)], 0)? == [true])
}

fn wait_for<const N: usize>(wanted: [(i32, i16); N], milliseconds: i32) -> io::Result<[bool; N]> {
    let mut polled = wanted.map(|(fd, events)| libc::pollfd { fd, events, revents: 0 });
    // SAFETY: the array has as many entries as are said.
    while unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, milliseconds) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(polled.map(|p| p.revents != 0))
}
