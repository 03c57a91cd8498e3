//! What an engine tells the launcher: one line of JSON each, on its standard output.

use std::io::Write;

use serde::{Deserialize, Serialize};

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
