//! Engine processes: started, listened to, stopped, reaped.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::Front;
use super::message::Message;
use crate::error::Failure;
use crate::settings::Settings;

/// What happened to an engine.
#[derive(Debug)]
pub enum Event {
    /// It said something.
    Message(usize, Message),
    /// It ended without a word.
    Died(usize, String),
    /// All engines have ended.
    Over,
}

/// What engine number n said; nothing more when it closed its output.
type Line = (usize, Option<Message>);

/// The engine processes of a session.
pub struct Engines {
    settings: String,
    front: Front,
    running: Vec<Option<Child>>,
    /// Whether the engine said that it is done, or why it failed.
    parted: Vec<bool>,
    events: (Sender<Line>, Receiver<Line>),
}

impl Engines {
    /// No engine yet.
    ///
    /// # Errors
    /// When the settings cannot be handed over: a path that is not UTF-8.
    pub fn new(settings: &Settings, front: &Front) -> Result<Engines, Failure> {
        let text =
            serde_json::to_string(settings).map_err(|e| Failure::usage(format!("cannot use these paths: {e}")))?;
        let none = || (0..settings.workers).map(|_| None).collect();
        Ok(Engines {
            settings: text,
            front: front.clone(),
            running: none(),
            parted: vec![false; settings.workers],
            events: channel(),
        })
    }

    /// Starts engine number `index`, of whose session `gone` is over and which has `spent` so many
    /// executions of its budget.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&mut self, index: usize, gone: Duration, spent: u64) -> Result<(), Failure> {
        let mut command = Command::new(&self.front.hitmap[0]);
        command
            .args(&self.front.hitmap[1..])
            .args(["engine", "--index", &index.to_string(), "--settings", &self.settings])
            .args(["--gone", &gone.as_secs_f64().to_string(), "--spent", &spent.to_string()])
            .env("PYTHONSAFEPATH", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        // SAFETY: between fork and exec only `prctl` and `signal` are called, which are
        // async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                // Until the engine listens for it, Ctrl-C would end it somewhere in Python's imports.
                libc::signal(libc::SIGINT, libc::SIG_IGN);
                Ok(())
            });
        }
        let name = self.front.hitmap[0].to_string_lossy().into_owned();
        let child = command.spawn().map_err(Failure::system(&format!("cannot start {name}")))?;
        let child = self.running[index].insert(child);
        self.parted[index] = false;
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let events = self.events.0.clone();
        let listener = std::thread::Builder::new().spawn(move || {
            for message in lines.map_while(Result::ok).filter_map(|line| Message::read(&line)) {
                let _ = events.send((index, Some(message)));
            }
            let _ = events.send((index, None));
        });
        listener.map(drop).map_err(Failure::system("cannot listen to an engine"))
    }

    /// The next event; `None` when there was none for `patience`.
    ///
    /// # Errors
    /// When an engine cannot be waited for.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Event>, Failure> {
        match self.events.1.recv_timeout(patience) {
            Ok((index, Some(message))) => {
                self.parted[index] |= matches!(message, Message::Done { .. } | Message::Failed { .. });
                Ok(Some(Event::Message(index, message)))
            }
            Ok((index, None)) => {
                let Some(mut child) = self.running[index].take() else { return Ok(None) };
                let status = child.wait().map_err(|e| Failure::internal(format!("cannot wait for an engine: {e}")))?;
                if !self.parted[index] {
                    return Ok(Some(Event::Died(index, describe(status))));
                }
                Ok(self.running.iter().all(Option::is_none).then_some(Event::Over))
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Ok(self.running.iter().all(Option::is_none).then_some(Event::Over))
            }
        }
    }

    /// Asks all engines to stop.
    pub fn stop(&self) {
        self.signal(libc::SIGINT);
    }

    /// Ends all engines.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Waits for all engines, and ends those that take longer than `patience`.
    pub fn wait(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.running.iter().any(Option::is_some) && Instant::now() < until {
            // Again and again: one that is just starting does not listen yet.
            self.stop();
            let _ = self.next(Duration::from_millis(300));
        }
        self.kill();
    }

    fn signal(&self, signal: i32) {
        for child in self.running.iter().flatten() {
            // SAFETY: the process is our child and not yet reaped, so its number is its own.
            unsafe { libc::kill(child.id() as i32, signal) };
        }
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        self.kill();
        for child in self.running.iter_mut().flatten() {
            let _ = child.wait();
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => crate::finding::title::signal_name(signal),
        None => format!("exit code {}", status.code().unwrap_or(-1)),
    }
}
