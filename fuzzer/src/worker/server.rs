//! One server process: started, asked to fork and to kill, and reaped.
//!
//! Owns the process and the control socket. Knows nothing of inputs and coverage.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hitmap_wire::control::{self, Failure, Kind, Message};
use hitmap_wire::modules::Module;
use hitmap_wire::region::Region;

use super::files::Files;
use super::{Makers, WorkerError};
use crate::error::remedy;

/// How long a fork may take.
const FORK_PATIENCE: Duration = Duration::from_secs(30);

/// What the loader loads before a program's own libraries.
const PRELOAD: &str = "LD_PRELOAD";
/// What it was before: the worker puts it back (`hitmap/_preload.py`).
const PRELOADED: &str = "HITMAP_PRELOADED";

/// The witness of this installation, when this is the Python package's extension. A worker that is started
/// without one looks beside itself, and starts once more.
fn witness() -> Option<OsString> {
    let own = hitmap_wire::identity::holding(witness as *const () as usize)?;
    let own = PathBuf::from(OsString::from_vec(own.path));
    let path = own.parent()?.join("_rt").join(hitmap_wire::witness::FILE);
    // The loader takes a colon and a space for the end of a name.
    let is_plain = !path.as_os_str().as_encoded_bytes().iter().any(|byte| b": ".contains(byte));
    (is_plain && path.is_file()).then(|| path.into_os_string())
}

/// What is preloaded already, and the witness behind the runtimes of sanitizers: those take the first place, or
/// refuse to run.
fn with_witness(before: &OsStr, witness: OsString) -> OsString {
    let is_first = |library: &&[u8]| {
        let name = library.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        [&b"libclang_rt."[..], b"libasan", b"libubsan", b"libtsan", b"liblsan"].iter().any(|one| name.starts_with(one))
    };
    let all = before.as_bytes().split(|byte| b": ".contains(byte)).filter(|library| !library.is_empty());
    let (first, rest): (Vec<_>, Vec<_>) = all.partition(is_first);
    let list = first.into_iter().chain([witness.as_bytes()]).chain(rest).collect::<Vec<_>>();
    OsString::from_vec(list.join(&b':'))
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The Python interpreter.
    pub python: OsString,
    /// `FILE.py` or `FILE.py:NAME`.
    pub harness: String,
    /// Memory limit, passed on to the children.
    pub memory_mb: u64,
    /// How long importing the harness may take.
    pub patience: Duration,
    /// Which build of the libraries to load.
    pub variant: Variant,
}

/// A build of the same libraries: `hitmap build` keeps those that are not imported by themselves in
/// folders of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// What `import` finds.
    #[default]
    Ordinary,
    /// The one that tells what it compares.
    Comparisons,
    /// One that a sanitizer watches.
    Sanitized(Sanitizer),
}

/// A sanitizer whose builds can be run in place of the ordinary ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sanitizer {
    /// AddressSanitizer, alone or with others.
    Asan,
    /// UndefinedBehaviorSanitizer, alone.
    Ubsan,
}

impl Sanitizer {
    /// The folder of its builds, and the flag that asks for them.
    pub fn name(self) -> &'static str {
        match self {
            Sanitizer::Asan => "asan",
            Sanitizer::Ubsan => "ubsan",
        }
    }
}

impl Variant {
    /// The argument of `--variant`.
    fn name(&self) -> Option<&'static str> {
        match self {
            Variant::Ordinary => None,
            Variant::Comparisons => Some("comparisons"),
            Variant::Sanitized(sanitizer) => Some(sanitizer.name()),
        }
    }

    /// What AddressSanitizer is to do, in the order of its own documentation; what the user says in
    /// `ASAN_OPTIONS` comes after it and so counts.
    ///
    /// A report ends in `abort`, because the handler of that signal leaves the stack by which findings
    /// are told apart. Names are found by the engine, which starts no symbolizer a crash. Leaks are
    /// looked for at exit, which a child never comes to.
    fn asan_options(memory_mb: u64) -> String {
        let mut options = "abort_on_error=1:handle_abort=0:symbolize=0:detect_leaks=0:allocator_may_return_null=1:\
                           quarantine_size_mb=64:detect_odr_violation=0"
            .to_string();
        if memory_mb > 0 {
            options += &format!(":max_allocation_size_mb={memory_mb}");
        }
        if let Ok(own) = std::env::var("ASAN_OPTIONS") {
            options += &format!(":{own}");
        }
        options
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By a signal.
    Signal(i32),
    /// By itself.
    Exit(i32),
    /// Together with the server, which it must have killed.
    WithServer,
}

impl Ended {
    fn of_status(status: i32) -> Ended {
        if libc::WIFSIGNALED(status) {
            Ended::Signal(libc::WTERMSIG(status))
        } else {
            Ended::Exit(libc::WEXITSTATUS(status))
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Child,
    control: OwnedFd,
    /// Threads besides the main one that were alive after the import.
    pub threads: u64,
    /// Whether there is a comparison build of something.
    pub has_comparisons: bool,
    /// How the harness makes inputs.
    pub makers: Makers,
}

impl Server {
    /// Starts a server and waits until the harness is imported.
    ///
    /// # Errors
    /// [`WorkerError::Harness`] with a message for the user when the harness cannot be loaded.
    pub fn start(launch: &Launch, files: &Files, history: BorrowedFd<'_>) -> Result<Server, WorkerError> {
        let mut server = Server::begin(launch, files, history)?;
        server.wait_ready(launch, files)?;
        Ok(server)
    }

    /// Starts a server; [`Server::wait_ready`] must follow.
    ///
    /// # Errors
    /// [`WorkerError::Harness`] when there is no such interpreter.
    pub fn begin(launch: &Launch, files: &Files, history: BorrowedFd<'_>) -> Result<Server, WorkerError> {
        let (ours, theirs) = control::socket_pair().map_err(WorkerError::system("socketpair"))?;
        let fds = files.descriptors(history.as_raw_fd(), theirs.as_raw_fd());
        let mut command = Command::new(&launch.python);
        command
            .args(["-m", "hitmap.worker", "--harness", &launch.harness, "--fds", &fds.to_argument()])
            .args(["--memory-mb", &launch.memory_mb.to_string()])
            .args(launch.variant.name().into_iter().flat_map(|name| ["--variant", name]))
            .env(control::MAP_VARIABLE, control::map_variable(fds.region, files.token))
            .env("PYTHONHASHSEED", "0")
            // A `json.py` in the current folder must not stand in for Python's own.
            .env("PYTHONSAFEPATH", "1")
            // It would leave out each `assert` of the harness, which is an oracle.
            .env_remove("PYTHONOPTIMIZE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // What an interpreter says that never comes to hitmap's own code is the reason for the user.
            .stderr(files.log_writer().map_err(WorkerError::system("no room for the log"))?);
        // The worker of a sanitizer's builds starts itself again, with the sanitizer's runtime in front.
        if !matches!(launch.variant, Variant::Sanitized(_))
            && let Some(witness) = witness()
        {
            let before = std::env::var_os(PRELOAD).unwrap_or_default();
            command.env(PRELOAD, with_witness(&before, witness)).env(PRELOADED, before);
        }
        if launch.variant == Variant::Sanitized(Sanitizer::Asan) {
            command.env("ASAN_OPTIONS", Variant::asan_options(launch.memory_mb));
        }
        // Comparisons tell addresses, and what is decided by them must come out the same again. A
        // container may forbid it; the campaign goes on then, and only repeats itself less well.
        let same_addresses = launch.variant == Variant::Comparisons;
        // SAFETY: between fork and exec only `fcntl`, `prctl`, `personality` and `setpgid` are called,
        // which are async-signal-safe. The group of its own keeps a terminal's Ctrl-C for the engine.
        unsafe {
            command.pre_exec(move || {
                libc::setpgid(0, 0);
                if same_addresses {
                    libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong);
                }
                // An import that hangs does not notice that the engine is gone.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                for fd in fds.all() {
                    if libc::fcntl(fd, libc::F_SETFD, 0) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
        files.clear_log();
        files.batch.clear_notes();
        let process = command.spawn().map_err(|source| {
            let python = launch.python.to_string_lossy().into_owned();
            let remedy = remedy(&source).unwrap_or("name the interpreter with --python");
            WorkerError::Harness(format!("cannot start {python}: {source}; {remedy}"))
        })?;
        drop(theirs);
        Ok(Server { process, control: ours, threads: 0, has_comparisons: false, makers: Makers::default() })
    }

    /// Waits until the harness is imported.
    ///
    /// # Errors
    /// [`WorkerError::Harness`] with a message for the user when the harness cannot be loaded.
    pub fn wait_ready(&mut self, launch: &Launch, files: &Files) -> Result<(), WorkerError> {
        let until = Instant::now() + launch.patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seconds = launch.patience.as_secs();
                return Err(WorkerError::Harness(format!(
                    "{}: importing took longer than {seconds} s; what it wrote:\n{}",
                    launch.harness,
                    files.log()
                )));
            }
            if !readable(self.control.as_fd(), left) {
                continue;
            }
            let message = Message::receive(self.control.as_fd()).map_err(WorkerError::system("control socket"))?;
            let Some(message) = message else {
                let status = self.process.wait().map(|s| s.to_string()).unwrap_or_default();
                return Err(WorkerError::Harness(died_at_start(launch, &status, &files.log())));
            };
            match message.kind() {
                Some(Kind::Ready) => {
                    self.threads = message.a;
                    let has = |flag| message.value & flag != 0;
                    self.has_comparisons = has(control::HAS_COMPARISONS);
                    self.makers = Makers {
                        mutator: has(control::HAS_MUTATOR),
                        crossover: has(control::HAS_CROSSOVER),
                        generator: has(control::HAS_GENERATOR),
                        decodes: has(control::DECODES),
                    };
                    return Ok(());
                }
                Some(Kind::Failed) => {
                    return Err(WorkerError::Harness(failure_text(launch, message.value, &files.batch.report())));
                }
                _ => return Err(WorkerError::Broken("did not say whether it is ready".into())),
            }
        }
    }

    /// The control socket, to be polled beside the done event.
    pub fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Forks a child; returns its process id.
    ///
    /// # Errors
    /// [`WorkerError::Broken`] when the server is gone.
    pub fn fork(&self, files: &Files) -> Result<i32, WorkerError> {
        self.say(Message::new(Kind::Fork, 0, 0))?;
        // A fork handler of the target may wait for a thread that is not there.
        if !readable(self.control.as_fd(), FORK_PATIENCE) {
            return Err(WorkerError::Broken("does not come back from a fork".into()));
        }
        let message = self.hear()?;
        match message.kind() {
            Some(Kind::Forked) => Ok(message.a as i32),
            _ => Err(WorkerError::Broken(format!("did not fork: {}", files.batch.report().trim()))),
        }
    }

    /// Sends a signal to the child. That it is gone already is no error.
    ///
    /// # Errors
    /// [`WorkerError::Broken`] when the server is gone.
    pub fn kill(&self, signal: i32) -> Result<(), WorkerError> {
        self.say(Message::new(Kind::Kill, signal, 0))
    }

    /// Waits up to `patience` for the child's end; `None` when it still lives.
    ///
    /// # Errors
    /// [`WorkerError::Broken`] when the server is gone.
    pub fn wait_exited(&self, patience: Duration) -> Result<Option<Ended>, WorkerError> {
        if !readable(self.control.as_fd(), patience) {
            return Ok(None);
        }
        let message = self.hear()?;
        match message.kind() {
            Some(Kind::Exited) => Ok(Some(Ended::of_status(message.value))),
            _ => Err(WorkerError::Broken("spoke out of turn".into())),
        }
    }

    fn say(&self, message: Message) -> Result<(), WorkerError> {
        message.send(self.control.as_fd()).map_err(|e| WorkerError::Broken(format!("is gone: {e}")))
    }

    fn hear(&self) -> Result<Message, WorkerError> {
        match Message::receive(self.control.as_fd()) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(WorkerError::Broken("is gone".into())),
            Err(e) => Err(WorkerError::Broken(format!("cannot be heard: {e}"))),
        }
    }
}

#[cfg(test)]
impl Server {
    /// A server that somebody plays at the other end of `control`.
    pub fn played(control: OwnedFd) -> Server {
        let process = Command::new("true").spawn().unwrap();
        Server { process, control, threads: 0, has_comparisons: false, makers: Makers::default() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends when its socket closes; it is killed as well in case it no longer listens.
        // Its child dies with it (PR_SET_PDEATHSIG).
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Forgets where libraries lie, in the region's module table, unless `stays` says so.
pub fn forget_addresses(region: &Region, known: &[Module], stays: impl Fn(&Module) -> bool) {
    let forget = |m: &Module| if stays(m) { m.clone() } else { Module { load_bias: 0, pc_table: 0, ..m.clone() } };
    hitmap_wire::modules::restore(region, &known.iter().map(forget).collect::<Vec<_>>());
}

/// Waits for the whole of `patience`: Ctrl-C interrupts a poll, and says nothing of the server.
fn readable(fd: BorrowedFd<'_>, patience: Duration) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let millis = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one valid entry is passed.
        match unsafe { libc::poll(&mut poll, 1, millis) } {
            ready if ready >= 0 => return ready == 1,
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return false,
        }
    }
}

fn died_at_start(launch: &Launch, status: &str, log: &str) -> String {
    let python = launch.python.to_string_lossy();
    if log.contains("No module named hitmap") || log.contains("No module named 'hitmap'") {
        return format!("{python} has no hitmap; install its wheel there, or name another interpreter with --python");
    }
    // Python's dump goes on into hitmap's own frames, which say nothing to the user.
    let own = |line: &&str| line.contains("/hitmap/worker.py\", line") || line.contains("\"<frozen ");
    let log: Vec<&str> = log.lines().filter(|line| !own(line)).collect();
    let log = log.join("\n");
    let died = format!("{}: {python} died while it imported the harness ({status})", launch.harness);
    match log.trim_end() {
        "" => format!("{died} and wrote nothing; is it a Python? --python names another one"),
        log => format!("{died}; what it wrote:\n{log}"),
    }
}

fn failure_text(launch: &Launch, code: i32, report: &str) -> String {
    let harness = &launch.harness;
    let (file, _) = crate::settings::split_harness(harness);
    let report = report.trim_end();
    match Failure::from_code(code) {
        Failure::NoFile => format!("{file}: no such file; name a Python file that defines a harness"),
        Failure::Import => format!("{file}: importing it raised:\n{report}"),
        Failure::NoHarness => {
            format!("{file}: no harness in it; decorate a function that takes bytes with @hitmap.harness")
        }
        Failure::SeveralHarnesses => {
            format!("{file}: several harnesses in it ({report}); name one, as in {file}:{}", first(report))
        }
        Failure::NoVariant => report.into(),
        Failure::NoSuchHarness => format!("{harness}: no such harness; there is {report}"),
        Failure::Other => format!("{file}: {report}"),
    }
}

fn first(names: &str) -> &str {
    names.split([',', '\n']).next().unwrap_or("NAME").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_witness_stands_behind_sanitizers_and_before_the_rest() {
        let check = |before: &str, expect: &str| {
            assert_eq!(with_witness(OsStr::new(before), "/w.so".into()), OsStr::new(expect), "{before}");
        };
        check("", "/w.so");
        check("/x.so", "/w.so:/x.so");
        check("/a/libclang_rt.asan-x86_64.so", "/a/libclang_rt.asan-x86_64.so:/w.so");
        check("/x.so /b/libasan.so.8:y.so", "/b/libasan.so.8:/w.so:/x.so:y.so");
    }
}
