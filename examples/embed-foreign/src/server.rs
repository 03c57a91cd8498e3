//! LibAFL's executor over a socket. Owns no process: a server that died is somebody else's to start.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libafl::Error;
use libafl::executors::{Executor, ExitKind};
use libafl::inputs::{BytesInput, HasTargetBytes};
use libafl::state::HasExecutions;

/// How long to wait for a server to be started, and for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, by its socket.
pub struct Server {
    socket: PathBuf,
}

impl Server {
    /// A server that listens, or will.
    pub fn new(socket: &str) -> Server {
        Server { socket: socket.into() }
    }

    /// Nothing tells when a process of somebody else's begins to listen, so it is asked for.
    fn connect(&self) -> Result<UnixStream, Error> {
        let began = Instant::now();
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return Ok(stream),
                Err(_) if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => {
                    return Err(Error::unknown(format!("no server on {}: {error}", self.socket.display())));
                }
            }
        }
    }
}

impl<EM, S: HasExecutions, Z> Executor<EM, BytesInput, S, Z> for Server {
    fn run_target(&mut self, _: &mut Z, state: &mut S, _: &mut EM, input: &BytesInput) -> Result<ExitKind, Error> {
        *state.executions_mut() += 1;
        let bytes = input.target_bytes();
        let request = &bytes[..bytes.len().min(255)];
        // A connection that a dying server had not accepted yet is reset: that says nothing of its
        // request, which is sent once more.
        match self.ask(request).or_else(|_| self.ask(request)) {
            Ok(kind) => Ok(kind),
            Err(Failed::Reset) => Ok(ExitKind::Crash),
            Err(Failed::Absent(error)) => Err(error),
        }
    }
}

enum Failed {
    Reset,
    Absent(Error),
}

impl Server {
    fn ask(&self, request: &[u8]) -> Result<ExitKind, Failed> {
        let mut stream = self.connect().map_err(Failed::Absent)?;
        let answered = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.write_all(request))
            .and_then(|()| stream.shutdown(std::net::Shutdown::Write))
            .and_then(|()| stream.read(&mut [0; 1]));
        match answered {
            Ok(1) => Ok(ExitKind::Ok),
            // It died while it served us.
            Ok(_) => Ok(ExitKind::Crash),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(ExitKind::Timeout),
            Err(_) => Err(Failed::Reset),
        }
    }
}
