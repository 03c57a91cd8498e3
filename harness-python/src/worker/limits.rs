//! What the process may use, and which signals it hears.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// No core files: a campaign crashes thousands of times, and the crash note has what is needed.
///
/// The limit is one byte and not zero because a pattern that pipes to a program ignores zero, while
/// one is the kernel's own mark for "no dump" (`do_coredump` in fs/coredump.c).
pub fn no_core_files() {
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: the pointer is to a filled struct. A refusal leaves core files on, which is slow but
    // not wrong.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) };
}

/// Ctrl-C reaches the whole process group; what it means is the engine's to decide.
pub fn ignore_interrupts() {
    // SAFETY: SIG_IGN is a valid disposition for SIGINT.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}

/// Die with the server, however it dies. `server` is its process id: when it is gone already, the
/// signal would never come.
pub fn die_with(server: i32) {
    // SAFETY: no pointers are passed.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != server {
            libc::_exit(0);
        }
    }
}

/// A process group of the child's own: a target that signals its group reaches itself and what it
/// started, not the server.
pub fn lead_a_group() {
    // SAFETY: no pointers are passed. It cannot fail in a process that was just forked.
    unsafe { libc::setpgid(0, 0) };
}

/// SIGTERM ends the process, whatever the harness's file made of it: LibAFL's executor kills with it.
pub fn die_when_asked() {
    // SAFETY: SIG_DFL is a valid disposition for SIGTERM.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
}

/// What the harness's file made of SIGCHLD.
struct Wanted(UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written once by the server, before it forks; read by its children.
unsafe impl Sync for Wanted {}

static WANTED: Wanted = Wanted(UnsafeCell::new(MaybeUninit::uninit()));

/// Children of this process are waited for, whatever the harness's file made of SIGCHLD: where that is ignored, the
/// system throws their status away. Called once, after the import.
pub fn keep_statuses() {
    // SAFETY: all zero is a value of the struct and says SIG_DFL; the process has one thread that forks.
    unsafe {
        let action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGCHLD, &action, (*WANTED.0.get()).as_mut_ptr());
    }
}

/// In a child, after [`keep_statuses`] in its server: the target finds SIGCHLD as it left it.
pub fn restore_statuses() {
    // SAFETY: the server has filled the struct.
    unsafe { libc::sigaction(libc::SIGCHLD, (*WANTED.0.get()).as_ptr(), std::ptr::null_mut()) };
}

/// Set in processes that the target forks: a harness that forks returns twice.
static IS_FORKED_AGAIN: AtomicBool = AtomicBool::new(false);

/// From now on, [`end_if_forked_again`] knows this process from those that the target forks.
pub fn notice_forks() {
    // SAFETY: the handler only stores a flag.
    unsafe { libc::pthread_atfork(None, None, Some(forked_again)) };
}

extern "C" fn forked_again() {
    IS_FORKED_AGAIN.store(true, Ordering::Relaxed);
}

/// Ends a process that the harness forked and that came back: it has nothing to say.
pub fn end_if_forked_again() {
    if IS_FORKED_AGAIN.load(Ordering::Relaxed) {
        // SAFETY: ends the process without running anybody's exit handlers.
        unsafe { libc::_exit(0) };
    }
}

/// Memory that may be taken, in limits of what may be used: the engine ends a child that grows past its
/// limit, and looks often enough to do so long before this is reached. Were both the same, it would be
/// chance whether an input that grows is killed or gets a `MemoryError`, and one bug would be two findings.
const HEADROOM: u64 = 4;

/// Bounds private memory to what is in use now and four times `mb` MiB more, so that one giant allocation
/// fails where it is made (`malloc` gives null, Python raises `MemoryError`). 0 sets no limit.
///
/// Called before each batch, because what earlier inputs leaked is no fault of the next one; that a
/// child has grown too large is for the engine to see, which replaces it. Data is what counts, not
/// address space: sanitizers and the map reserve terabytes of the latter.
///
/// # Errors
/// What the system reports.
pub fn bound_memory(mb: u64) -> io::Result<()> {
    if mb == 0 {
        return Ok(());
    }
    let limit = private_bytes()?.saturating_add(mb.saturating_mul(HEADROOM << 20));
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a writable struct.
    unsafe { libc::getrlimit(libc::RLIMIT_DATA, &mut old) };
    let limit = libc::rlimit { rlim_cur: limit.min(old.rlim_max), rlim_max: old.rlim_max };
    // SAFETY: the pointer is to a filled struct.
    if unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Private writable memory of this process: the sixth field of `/proc/self/statm`, in pages, which is
/// what RLIMIT_DATA is compared with and the stack.
fn private_bytes() -> io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(5).and_then(|pages| pages.parse::<u64>().ok());
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
    pages.map(|pages| pages * page).ok_or_else(|| io::Error::other("/proc/self/statm has no sixth field"))
}
