//! What the target wants done about fatal signals, and doing it.
//!
//! Our handler stays in front. What the target sets is remembered and answered as if it had been set, and
//! when the signal comes our handler does what the kernel would: call it with its mask, once or always,
//! ignore what somebody sent, or end the process.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::witness;
use super::{FATAL, on_signal};

/// Signals that end a process which does not care for them. Ours is in front only as long as nothing is
/// set for them: then their stack says who waited for what.
pub const ENDING: [c_int; 10] = [
    libc::SIGTERM,
    libc::SIGALRM,
    libc::SIGPIPE,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGXCPU,
    libc::SIGVTALRM,
    libc::SIGPROF,
];

/// What the kernel raises at the instruction that is at fault. Blocked, they would end the process without
/// a word.
const SYNCHRONOUS: [c_int; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGSYS, libc::SIGTRAP];

/// faulthandler's handler.
static PYTHONS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// Remembers faulthandler's handler, which is the one that is set.
pub fn note_pythons() {
    let mut action = default();
    // SAFETY: the struct is writable.
    unsafe { libc::sigaction(libc::SIGSEGV, std::ptr::null(), &mut action) };
    PYTHONS.store(action.sa_sigaction, Ordering::Relaxed);
}

/// Whether the signal for samples is ours.
pub static IS_SAMPLED: AtomicBool = AtomicBool::new(false);

/// What the target has set for one signal, read by handlers while it may be written.
struct Wanted {
    /// Odd while it is written.
    turn: AtomicU32,
    action: UnsafeCell<MaybeUninit<libc::sigaction>>,
}

// SAFETY: writers hold the turn; a reader that meets one reads again.
unsafe impl Sync for Wanted {}

static WANTED: [Wanted; FATAL.len()] =
    [const { Wanted { turn: AtomicU32::new(0), action: UnsafeCell::new(MaybeUninit::zeroed()) } }; FATAL.len()];

impl Wanted {
    fn read(&self) -> libc::sigaction {
        // A handler may have interrupted the writer, for whom waiting is no use.
        const TRIES: usize = 10_000;
        for _ in 0..TRIES {
            let turn = self.turn.load(Ordering::Acquire);
            // SAFETY: all zero is a value of the struct, and so is whatever was written; a torn one is
            // thrown away.
            let action = unsafe { std::ptr::read_volatile(self.action.get()).assume_init() };
            if turn.is_multiple_of(2) && self.turn.load(Ordering::Acquire) == turn {
                return action;
            }
            std::hint::spin_loop();
        }
        default()
    }

    fn write(&self, action: libc::sigaction) {
        let turn = self.turn.fetch_or(1, Ordering::AcqRel) & !1;
        // SAFETY: readers see the odd turn; two threads that set one signal at once race in plain C too.
        unsafe { std::ptr::write_volatile(self.action.get(), MaybeUninit::new(action)) };
        self.turn.store(turn + 2, Ordering::Release);
    }
}

fn default() -> libc::sigaction {
    // SAFETY: all zero is a value of the struct: `SIG_DFL`, no flags, an empty mask.
    unsafe { std::mem::zeroed() }
}

fn ours() -> libc::sigaction {
    let mut action = default();
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    action
}

/// Puts our handler in front of what is set for the signals.
pub fn install() {
    let action = witness::real().action;
    let mut old = default();
    for (at, signal) in FATAL.into_iter().enumerate() {
        // SAFETY: both point to structs; the handler has the type that SA_SIGINFO promises, and what it
        // reads is in place before it can run.
        unsafe {
            action(signal, std::ptr::null(), &mut old);
            if old.sa_sigaction != ours().sa_sigaction {
                WANTED[at].write(old);
                action(signal, &ours(), std::ptr::null_mut());
            }
        }
    }
    for signal in ENDING {
        // SAFETY: as above.
        unsafe {
            action(signal, std::ptr::null(), &mut old);
            if old.sa_sigaction == libc::SIG_DFL {
                action(signal, &ours(), std::ptr::null_mut());
            }
        }
    }
}

/// Takes a signal that the target is not to have any more; gives the handler that was set.
pub fn take(
    signal: c_int,
    handler: unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void),
) -> libc::sighandler_t {
    let (mut new, mut old) = (default(), default());
    new.sa_sigaction = handler as *const () as usize;
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: both point to structs; the handler has the type that SA_SIGINFO promises.
    unsafe { (witness::real().action)(signal, &new, &mut old) };
    IS_SAMPLED.store(true, Ordering::Relaxed);
    old.sa_sigaction
}

/// A mask without what must not be blocked.
///
/// # Safety
/// `set` is a valid set.
unsafe fn without_ours(set: *const libc::sigset_t) -> libc::sigset_t {
    // SAFETY: the caller's word; the numbers are signals.
    unsafe {
        let mut set = *set;
        for signal in SYNCHRONOUS.into_iter().chain([hitmap_wire::control::sample_signal()]) {
            libc::sigdelset(&mut set, signal);
        }
        set
    }
}

/// In place of `sigaction`, when the witness is there.
///
/// # Safety
/// That of `sigaction`.
pub unsafe extern "C" fn on_action(signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    let action = witness::real().action;
    // What the target starts by vfork has this memory and handlers of its own.
    if super::is_somebody_elses() {
        // SAFETY: the caller's word.
        return unsafe { action(signal, new, old) };
    }
    // SAFETY: the caller's word: each pointer is null or points to a struct.
    unsafe {
        if let Some(at) = FATAL.iter().position(|s| *s == signal) {
            let before = WANTED[at].read();
            if let Some(new) = new.as_ref() {
                WANTED[at].write(*new);
            }
            if let Some(old) = old.as_mut() {
                *old = before;
            }
            return 0;
        }
        if signal == hitmap_wire::control::sample_signal() && IS_SAMPLED.load(Ordering::Relaxed) {
            // Whatever is set for it is not called: the number is taken.
            if let Some(old) = old.as_mut() {
                *old = default();
            }
            return 0;
        }
        let mut wanted;
        let mut before = default();
        let passed = match new.as_ref() {
            None => std::ptr::null(),
            Some(new) if new.sa_sigaction == libc::SIG_DFL && ENDING.contains(&signal) => {
                wanted = ours();
                &raw const wanted
            }
            Some(new) => {
                wanted = *new;
                wanted.sa_mask = without_ours(&new.sa_mask);
                &raw const wanted
            }
        };
        let code = action(signal, passed, &mut before);
        if let (0, Some(old)) = (code, old.as_mut()) {
            *old = if before.sa_sigaction == ours().sa_sigaction { default() } else { before };
        }
        code
    }
}

/// In place of `pthread_sigmask`, when the witness is there.
///
/// # Safety
/// That of `pthread_sigmask`.
pub unsafe extern "C" fn on_mask(how: c_int, new: *const libc::sigset_t, old: *mut libc::sigset_t) -> c_int {
    let mask = witness::real().mask;
    if new.is_null() || how == libc::SIG_UNBLOCK {
        // SAFETY: the caller's word.
        return unsafe { mask(how, new, old) };
    }
    // SAFETY: the caller's word.
    unsafe { mask(how, &without_ours(new), old) }
}

/// Whether somebody sent the signal, and no instruction is at fault.
///
/// # Safety
/// `info` is what the kernel passed.
pub unsafe fn is_sent(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the caller's word.
    unsafe { (*info).si_code <= 0 }
}

/// Whether the target ignores this signal.
///
/// # Safety
/// `info` is what the kernel passed.
pub unsafe fn is_ignored(signal: c_int, info: *const libc::siginfo_t) -> bool {
    // SAFETY: the caller's word.
    let sent = unsafe { is_sent(info) };
    let at = FATAL.iter().position(|s| *s == signal);
    sent && at.is_some_and(|at| WANTED[at].read().sa_sigaction == libc::SIG_IGN)
}

/// Does what the target wants done.
///
/// # Safety
/// Only in a signal handler, with what the kernel passed.
pub unsafe fn hand_on(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    stack_ended: bool,
    is_known: bool,
) {
    let at = FATAL.iter().position(|s| *s == signal);
    let wanted = at.map_or_else(default, |at| WANTED[at].read());
    let handler = wanted.sa_sigaction;
    // The kernel finds no room for a handler on a stack that has ended.
    let has_room = !stack_ended || wanted.sa_flags & libc::SA_ONSTACK != 0;
    // Python's stack of an end that was seen before is no news.
    let is_news = !(is_known && handler == PYTHONS.load(Ordering::Relaxed));
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN || !has_room || !is_news {
        end(signal);
        return;
    }
    let mask = witness::real().mask;
    // SAFETY: a handler has the type that its flags say; sets are ours.
    unsafe {
        if let Some(at) = at.filter(|_| wanted.sa_flags & libc::SA_RESETHAND != 0) {
            WANTED[at].write(default());
        }
        let mut blocked = without_ours(&wanted.sa_mask);
        if signal == libc::SIGABRT && wanted.sa_flags & libc::SA_NODEFER == 0 {
            libc::sigaddset(&mut blocked, signal);
        }
        let mut before: libc::sigset_t = std::mem::zeroed();
        mask(libc::SIG_BLOCK, &blocked, &mut before);
        if wanted.sa_flags & libc::SA_SIGINFO != 0 {
            type Call = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
            std::mem::transmute::<usize, Call>(wanted.sa_sigaction)(signal, info, context);
        } else {
            std::mem::transmute::<usize, unsafe extern "C" fn(c_int)>(wanted.sa_sigaction)(signal);
        }
        mask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
    }
}

/// Ends the process by a signal.
pub fn end(signal: c_int) {
    let real = witness::real();
    // SAFETY: the structs are ours, and the signal's default is set before it is raised.
    unsafe {
        (real.action)(signal, &default(), std::ptr::null_mut());
        let mut only: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut only, signal);
        (real.mask)(libc::SIG_UNBLOCK, &only, std::ptr::null_mut());
        libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::syscall(libc::SYS_gettid), signal);
    }
}
