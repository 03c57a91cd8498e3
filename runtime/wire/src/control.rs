//! What engine and server say to each other, and how the server is told where everything is.
//!
//! The story of one worker:
//!
//! 1. The engine makes region, history, batch and log files, a socket pair and two eventfds, and
//!    starts `python -m hitmap.worker --harness FILE:NAME --fds R,H,B,L,C,W,D` with
//!    `HITMAP_MAP=fd:R:TOKEN` (see [`map_variable`]).
//! 2. The server imports the harness and answers [`Kind::Ready`], or [`Kind::Failed`] with the
//!    reason in the batch file's report.
//! 3. The engine says [`Kind::Fork`]; the server forks and answers [`Kind::Forked`].
//! 4. For each batch the engine writes 1 to the wake eventfd; the child reads it, works, and writes
//!    1 to the done eventfd. The socket is silent.
//! 5. When the child ends, of itself or by [`Kind::Kill`], the server says [`Kind::Exited`]. Back
//!    to 3.
//! 6. When the engine closes the socket, or dies, the server kills its child and ends.
//!
//! Messages are fixed 32-byte packets on a `SOCK_SEQPACKET` socket, so none is ever half read.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::named::MapName;

/// The environment variable that names the map to join.
pub const MAP_VARIABLE: &str = "HITMAP_MAP";

/// In the value of [`Kind::Ready`]: libraries were built a second time to tell what they compare.
pub const HAS_COMPARISONS: i32 = 1;
/// In the same value: the harness brings a mutator.
pub const HAS_MUTATOR: i32 = 2;
/// In the same value: the harness brings a crossover.
pub const HAS_CROSSOVER: i32 = 4;
/// In the same value: the harness brings a generator.
pub const HAS_GENERATOR: i32 = 8;
/// In the same value: the harness decodes its inputs.
pub const DECODES: i32 = 16;

/// The signal by which an engine looks at a run that takes too long, sent by [`Kind::Kill`]. A child answers with
/// samples ([`crate::batch::notes::SampleNote`]) and goes on. One that does not catch it is not asked: it would end.
/// It is one of the last real-time signals, which no library in wide use takes, and with the witness the target can
/// neither block nor take it.
pub fn sample_signal() -> i32 {
    libc::SIGRTMAX() - 2
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Engine: fork a child.
    Fork = 1,
    /// Engine: send signal `value` to the child, which may be [`sample_signal`].
    Kill = 2,
    /// Server: the harness is imported; `a` threads besides the main one are alive, and `value` has
    /// [`HAS_COMPARISONS`] when there is a folder of comparison builds, and what the harness brings along.
    Ready = 16,
    /// Server: the harness could not be loaded; `value` is a [`Failure`] code.
    Failed = 17,
    /// Server: the child's process id is `a`.
    Forked = 18,
    /// Server: the child ended with wait status `value`; its largest resident size was `a` KiB.
    Exited = 19,
}

impl Kind {
    fn from_code(code: u32) -> Option<Kind> {
        use Kind::*;
        [Fork, Kill, Ready, Failed, Forked, Exited].into_iter().find(|kind| *kind as u32 == code)
    }
}

/// Why a harness could not be loaded. The text beside it is in the batch file's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Failure {
    /// There is no such file.
    NoFile = 1,
    /// Importing it raised; the report is the traceback.
    Import = 2,
    /// It defines no harness.
    NoHarness = 3,
    /// It defines several and none was named; the report lists their names.
    SeveralHarnesses = 4,
    /// The named harness is not among those that the report lists.
    NoSuchHarness = 5,
    /// Anything else; the report says what.
    Other = 6,
    /// There is no build of the kind that was asked for; the report says how to get one.
    NoVariant = 7,
}

impl Failure {
    /// Reads a code; unknown ones are [`Failure::Other`].
    pub fn from_code(code: i32) -> Failure {
        use Failure::*;
        [NoFile, Import, NoHarness, SeveralHarnesses, NoSuchHarness, NoVariant]
            .into_iter()
            .find(|f| *f as i32 == code)
            .unwrap_or(Other)
    }
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Message {
    kind: u32,
    /// Signal, wait status or failure code.
    pub value: i32,
    /// Process id, thread count or KiB.
    pub a: u64,
    reserved: [u64; 2],
}

const LEN: usize = 32;
const _: () = assert!(size_of::<Message>() == LEN);

impl Message {
    /// A message.
    pub fn new(kind: Kind, value: i32, a: u64) -> Message {
        Message { kind: kind as u32, value, a, reserved: [0; 2] }
    }

    /// What it says; `None` for a kind this version does not know.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_code(self.kind)
    }

    /// Sends it.
    ///
    /// # Errors
    /// What `send(2)` reports; `BrokenPipe` when the other side is gone (no SIGPIPE is raised).
    pub fn send(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: the buffer is this message, plain data of LEN bytes without padding.
        let sent = unsafe { libc::send(socket.as_raw_fd(), (&raw const *self).cast(), LEN, libc::MSG_NOSIGNAL) };
        if sent == LEN as isize { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits for the next message; `Ok(None)` when the other side closed its end.
    ///
    /// # Errors
    /// What `recv(2)` reports, or `InvalidData` for a packet of another size.
    pub fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Message>> {
        let mut message = Message::new(Kind::Fork, 0, 0);
        loop {
            // SAFETY: the buffer has LEN writable bytes, and every byte pattern is a message.
            let got = unsafe { libc::recv(socket.as_raw_fd(), (&raw mut message).cast(), LEN, 0) };
            match got {
                0 => return Ok(None),
                n if n == LEN as isize => return Ok(Some(message)),
                n if n > 0 => return Err(io::Error::new(io::ErrorKind::InvalidData, "short control message")),
                _ => match io::Error::last_os_error() {
                    e if e.kind() == io::ErrorKind::Interrupted => {}
                    e if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                    e => return Err(e),
                },
            }
        }
    }
}

/// A connected pair of control sockets, both closed on exec.
///
/// # Errors
/// What `socketpair(2)` reports.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: `fds` has room for two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made both descriptors and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// An eventfd, closed on exec: a wake-up that can be polled.
///
/// # Errors
/// What `eventfd(2)` reports.
pub fn event() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Wakes whoever waits on an eventfd.
///
/// # Errors
/// What `write(2)` reports.
pub fn wake(event: BorrowedFd<'_>) -> io::Result<()> {
    add(event, 1)
}

/// Wakes whoever waits on an eventfd, and has it count `count`, which is not 0.
///
/// # Errors
/// What `write(2)` reports.
pub fn add(event: BorrowedFd<'_>, count: u64) -> io::Result<()> {
    // SAFETY: the buffer is 8 readable bytes.
    let wrote = unsafe { libc::write(event.as_raw_fd(), (&raw const count).cast(), 8) };
    if wrote == 8 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits for an eventfd and takes what it counted.
///
/// # Errors
/// What `read(2)` reports.
pub fn wait(event: BorrowedFd<'_>) -> io::Result<u64> {
    let mut count = 0u64;
    loop {
        // SAFETY: the buffer is 8 writable bytes.
        let got = unsafe { libc::read(event.as_raw_fd(), (&raw mut count).cast(), 8) };
        if got == 8 {
            return Ok(count);
        }
        match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::Interrupted => {}
            e => return Err(e),
        }
    }
}

/// The value of [`MAP_VARIABLE`] for a region behind descriptor `fd`.
pub fn map_variable(fd: RawFd, token: u64) -> String {
    format!("fd:{fd}:{token:016x}")
}

/// What [`MAP_VARIABLE`] can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedMap {
    /// An inherited descriptor, and the region's token.
    Descriptor(RawFd, u64),
    /// A shared memory object.
    Name(MapName),
}

/// Reads the value of [`MAP_VARIABLE`]: `fd:NUMBER:TOKEN`, or a name that starts with a slash.
pub fn parse_map_variable(value: &str) -> Option<NamedMap> {
    if value.starts_with('/') {
        return MapName::new(value).map(NamedMap::Name);
    }
    let (fd, token) = value.strip_prefix("fd:")?.split_once(':')?;
    Some(NamedMap::Descriptor(fd.parse().ok()?, u64::from_str_radix(token, 16).ok()?))
}

/// The descriptors of a worker, in the order of `--fds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The map region.
    pub region: RawFd,
    /// The history: one class byte an edge, read-only for the worker.
    pub history: RawFd,
    /// The batch file.
    pub batch: RawFd,
    /// Where standard error goes: a file that survives the child.
    pub log: RawFd,
    /// The control socket.
    pub control: RawFd,
    /// The eventfd that wakes the child.
    pub wake: RawFd,
    /// The eventfd by which the child says that it is through.
    pub done: RawFd,
}

impl Descriptors {
    /// All of them, in order.
    pub fn all(&self) -> [RawFd; 7] {
        [self.region, self.history, self.batch, self.log, self.control, self.wake, self.done]
    }

    /// The argument of `--fds`.
    pub fn to_argument(&self) -> String {
        self.all().map(|fd| fd.to_string()).join(",")
    }

    /// Reads the argument of `--fds`.
    pub fn from_argument(argument: &str) -> Option<Descriptors> {
        let fds: Vec<RawFd> =
            argument.split(',').map(|fd| fd.parse().ok().filter(|fd| *fd >= 0)).collect::<Option<_>>()?;
        let [region, history, batch, log, control, wake, done] = fds[..] else { return None };
        Some(Descriptors { region, history, batch, log, control, wake, done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn messages_cross_the_socket() {
        let (a, b) = socket_pair().unwrap();
        Message::new(Kind::Exited, 139, 42).send(a.as_fd()).unwrap();
        let got = Message::receive(b.as_fd()).unwrap().unwrap();
        assert_eq!((got.kind(), got.value, got.a), (Some(Kind::Exited), 139, 42));
        drop(a);
        assert_eq!(Message::receive(b.as_fd()).unwrap(), None);
    }

    #[test]
    fn kinds_are_golden() {
        assert_eq!([1, 2, 16, 17, 18, 19].map(|c| Kind::from_code(c).unwrap() as u32), [1, 2, 16, 17, 18, 19]);
        assert_eq!(Kind::from_code(3), None);
        assert_eq!(Failure::from_code(99), Failure::Other);
    }

    #[test]
    fn events_count() {
        let event = event().unwrap();
        wake(event.as_fd()).unwrap();
        wake(event.as_fd()).unwrap();
        assert_eq!(wait(event.as_fd()).unwrap(), 2);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe_as_arguments(text: String) {
            let _ = parse_map_variable(&text);
            let _ = Descriptors::from_argument(&text);
        }

        #[test]
        fn arguments_come_back(fds: [u16; 7], token: u64) {
            let [region, history, batch, log, control, wake, done] = fds.map(RawFd::from);
            let all = Descriptors { region, history, batch, log, control, wake, done };
            proptest::prop_assert_eq!(Descriptors::from_argument(&all.to_argument()), Some(all));
            proptest::prop_assert_eq!(parse_map_variable(&map_variable(region, token)), Some(NamedMap::Descriptor(region, token)));
        }
    }
}
