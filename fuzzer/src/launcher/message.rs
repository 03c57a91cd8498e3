//! What an engine tells the launcher: one line of JSON each, on its standard output.

use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::campaign::health::Warning;
use crate::engine::spent::Bench;

/// Where an engine is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The engine's number.
    pub engine: usize,
    /// Executions of all its sessions.
    pub execs: u64,
    /// Executions a second lately.
    pub execs_per_sec: f64,
    /// Edges hit.
    pub edges: u64,
    /// Edges there are.
    pub total_edges: u64,
    /// Entries in its queue.
    pub corpus: usize,
    /// Percent of edges that behave.
    pub stability: f64,
    /// The share of its time that findings take, nearly all of it known ones.
    #[serde(default)]
    pub known_bugs: f64,
    /// What ails it now.
    pub ails: Vec<Warning>,
}

/// A message from an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// The harness works, and the campaign folder is there.
    Ready {
        /// Something that the user should know.
        notes: Vec<String>,
    },
    /// Something that the user should know, later on.
    Note(String),
    /// A sign of life.
    Status(Status),
    /// A new finding.
    Finding {
        /// One line.
        title: String,
        /// Where it lies.
        folder: String,
    },
    /// Where the time went, when that was asked.
    Bench(Bench),
    /// Something makes the campaign worse than it could be. Each engine says it once.
    Warning(Warning),
    /// The engine ends as it should.
    Done {
        /// Whether it was asked to stop.
        interrupted: bool,
    },
    /// The engine cannot go on.
    Failed {
        /// Exit code.
        code: i32,
        /// What went wrong and what to do.
        message: String,
    },
}

impl Message {
    /// Sends it to the launcher. A launcher that is gone is noticed elsewhere.
    pub fn send(&self) {
        if let Ok(mut line) = serde_json::to_vec(self) {
            line.push(b'\n');
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }

    /// Reads a line; `None` when it is none of ours.
    pub fn read(line: &str) -> Option<Message> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let message = Message::Failed { code: 4, message: "two\nlines".into() };
        assert_eq!(Message::read(&serde_json::to_string(&message).unwrap()), Some(message));
        assert_eq!(Message::read("noise"), None);
    }
}
