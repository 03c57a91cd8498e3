//! The server: imports the harness, then forks, kills and reaps one child at a time.
//!
//! Owns the control socket and the child's process. Runs no input and reads no coverage. It sleeps
//! in `poll` on the socket and the child, so it costs nothing while a batch runs.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use hitmap_wire::batch::making::Maker;
use hitmap_wire::control::{
    DECODES, Failure, HAS_COMPARISONS, HAS_CROSSOVER, HAS_GENERATOR, HAS_MUTATOR, Kind, Message,
};
use pyo3::intern;
use pyo3::prelude::*;

use super::barrier;
use super::child::{self, Born};
use super::crash;
use super::forked::Forked;
use super::judge::Judge;
use super::limits;
use super::listed::Listed;
use super::origin;
use super::outcome::Harness;
use super::raised::whole;
use super::samples;
use super::shared::{Maps, Shared};
use super::threads;

/// The exit code of a server that cannot go on.
const BROKEN: i32 = 3;

enum Event {
    ChildEnded,
    Said(Message),
    EngineGone,
}

/// Imports the harness and serves the engine; returns the exit code.
pub fn serve(py: Python<'_>, shared: Shared, maps: Maps, memory_mb: u64, host: &Bound<'_, PyAny>) -> i32 {
    match serve_until_closed(py, shared, maps, memory_mb, host) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("hitmap worker: {error}");
            BROKEN
        }
    }
}

fn serve_until_closed(
    py: Python<'_>,
    shared: Shared,
    maps: Maps,
    memory_mb: u64,
    host: &Bound<'_, PyAny>,
) -> PyResult<()> {
    shared.redirect_streams()?;
    limits::no_core_files();
    limits::ignore_interrupts();
    host.call_method1(intern!(py, "watch_crashes"), (shared.log.as_raw_fd(),))?;
    crash::note_pythons_handler();
    let server = std::process::id();
    let loaded = Harness::load(py, host);
    end_if_jumped_out(server);
    let harness = match loaded {
        Ok(harness) => harness,
        Err(error) => return fail(py, &shared, host, &error),
    };
    limits::keep_statuses();
    barrier::call_method(host, intern!(py, "settle"), ())?;
    barrier::prepare();
    origin::prepare(py)?;
    crash::prepare(shared.batch);
    samples::prepare(shared.batch);
    let has_comparisons: bool = host.call_method0(intern!(py, "has_comparisons"))?.extract()?;
    let making = &harness.making;
    let value = [
        (HAS_COMPARISONS, has_comparisons),
        (HAS_MUTATOR, making.has(Maker::Mutator)),
        (HAS_CROSSOVER, making.has(Maker::Crossover)),
        (HAS_GENERATOR, making.has(Maker::Generator)),
        (DECODES, making.decodes()),
    ];
    let value = value.iter().filter(|(_, is_so)| *is_so).map(|(flag, _)| flag).sum();
    Message::new(Kind::Ready, value, threads::others()).send(shared.control.as_fd())?;

    let judge = Judge::new(maps.region, maps.history)?;
    let mut listed = Listed::default();
    let mut forked: Option<Forked> = None;
    loop {
        end_if_jumped_out(server);
        // Detached, so that threads which the import started can run.
        let event = py.detach(|| next_event(&shared, forked.as_ref()))?;
        match event {
            Event::EngineGone => {
                if let Some(child) = forked.take() {
                    child.kill(libc::SIGKILL);
                    child.reap()?;
                }
                return Ok(());
            }
            Event::ChildEnded => {
                if let Some(child) = forked.take() {
                    let over = child.reap()?;
                    barrier::call_method(host, intern!(py, "ended"), (over.status,))?;
                    Message::new(Kind::Exited, over.status, over.peak_kib).send(shared.control.as_fd())?;
                }
            }
            Event::Said(message) => match (message.kind(), &forked) {
                (Some(Kind::Fork), None) => {
                    listed.write(shared.batch);
                    let pid: i32 =
                        match barrier::call_method(host, intern!(py, "fork"), ()).and_then(|pid| pid.extract()) {
                            Ok(pid) => pid,
                            Err(error) => return fail(py, &shared, host, &error),
                        };
                    if pid == 0 {
                        child::live(py, Born { shared, harness, listed, judge }, memory_mb, server as i32);
                    }
                    forked = Some(Forked::new(pid)?);
                    Message::new(Kind::Forked, 0, pid as u64).send(shared.control.as_fd())?;
                }
                (Some(Kind::Kill), Some(child)) => child.kill(message.value),
                // It ended by itself while the order was under way; that was said already.
                (Some(Kind::Kill), None) => {}
                _ => return Err(io::Error::other("the engine spoke out of turn").into()),
            },
        }
    }
}

/// A jump out of a run lands where `setjmp` was called, in a frame that the child has from the server.
fn end_if_jumped_out(server: u32) {
    if std::process::id() != server {
        crash::jumped_out();
    }
}

/// Says why there is no harness, or no child: the error has `code` and `text` when it is one of the
/// host's own, anything else is told by its traceback.
fn fail(py: Python<'_>, shared: &Shared, host: &Bound<'_, PyAny>, error: &PyErr) -> PyResult<()> {
    let value = whole(py, error.clone_ref(py));
    let code = value.getattr(intern!(py, "code")).and_then(|code| code.extract::<i32>());
    let text = value.getattr(intern!(py, "text")).and_then(|text| text.extract::<String>());
    let (code, text) = match (code, text) {
        (Ok(code), Ok(text)) => (Failure::from_code(code), text),
        _ => (Failure::Other, barrier::call_method(host, intern!(py, "describe"), (&value,))?.extract()?),
    };
    shared.batch.write_report(&text);
    Message::new(Kind::Failed, code as i32, 0).send(shared.control.as_fd())?;
    Ok(())
}

fn next_event(shared: &Shared, forked: Option<&Forked>) -> io::Result<Event> {
    let socket = shared.control.as_raw_fd();
    // poll skips an entry with a negative descriptor.
    let process = forked.map_or(-1, |child| child.ended().as_raw_fd());
    let mut polled = [process, socket].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    loop {
        // SAFETY: the array has as many entries as are said.
        if unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) } >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // The child's end goes first: an order that crossed it finds no child.
    if polled[0].revents != 0 {
        return Ok(Event::ChildEnded);
    }
    Ok(Message::receive(shared.control.as_fd())?.map_or(Event::EngineGone, Event::Said))
}
