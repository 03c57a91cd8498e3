//! What a fatal signal leaves behind: the raw return addresses, in the batch file.
//!
//! The handlers store numbers and hand on to whoever was installed before, in an ordinary worker
//! Python's faulthandler, which writes the Python stack to the log and lets the signal kill the
//! process. Naming the addresses is the engine's work, in its own time.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};

use hitmap_wire::batch::notes::{DeathNote, FRAMES, How};
use hitmap_wire::identity;
use hitmap_wire::mapping::Mapping;

use super::{registers, sanitizer};

const SIGNALS: [c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGSYS, libc::SIGTRAP];

/// The handlers' own stack, so that a stack that overflowed can still be walked.
const STACK: usize = 256 << 10;

/// Frames of the handler itself, which come before those of the target.
const OWN: usize = 8;

static NOTE: AtomicPtr<DeathNote> = AtomicPtr::new(std::ptr::null_mut());
/// The process that the note belongs to: what a target forks has a copy of these handlers.
static OWNER: AtomicI32 = AtomicI32::new(0);
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Where this library lies: a walk that comes back to it has left the target.
static OURS: (AtomicU64, AtomicU64) = (AtomicU64::new(0), AtomicU64::new(0));

struct Previous(UnsafeCell<[MaybeUninit<libc::sigaction>; SIGNALS.len()]>);

// SAFETY: written by `install` before the handlers can run, only read afterwards.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous(UnsafeCell::new([MaybeUninit::uninit(); SIGNALS.len()]));

/// Installs the handlers, in front of those that are there. `note` must live as long as the process.
///
/// # Errors
/// When the system refuses the stack.
pub fn install(note: &'static DeathNote) -> std::io::Result<()> {
    // The first backtrace loads libgcc, which allocates: not something to do in a handler.
    let mut warm = [std::ptr::null_mut(); 2];
    // SAFETY: the buffer has room for two addresses.
    unsafe { libc::backtrace(warm.as_mut_ptr(), 2) };

    let stack = libc::stack_t { ss_sp: Mapping::anonymous(STACK)?.leak().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the memory is ours and is never unmapped.
    if unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    if let Some(library) = identity::holding(install as *const () as usize) {
        OURS.0.store(library.span.0, Ordering::Relaxed);
        OURS.1.store(library.span.1, Ordering::Relaxed);
    }
    NOTE.store(std::ptr::from_ref(note).cast_mut(), Ordering::Relaxed);
    OWNER.store(std::process::id() as i32, Ordering::Relaxed);
    TAKEN.store(false, Ordering::Release);
    sanitizer::listen(on_report);

    // SAFETY: the handler has the type that SA_SIGINFO promises; the previous disposition is in its
    // place before the new one can run; the child has one thread here.
    unsafe {
        let previous = &mut *PREVIOUS.0.get();
        for (at, signal) in SIGNALS.into_iter().enumerate() {
            libc::sigaction(signal, std::ptr::null(), previous[at].as_mut_ptr());
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_crash as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
    Ok(())
}

/// Forgets a note when the signal did not kill: some libraries use traps in their ordinary work.
#[inline]
pub fn forget_survived() {
    if TAKEN.load(Ordering::Relaxed) {
        // SAFETY: TAKEN is only set after NOTE, which lives as long as the process.
        unsafe { (*NOTE.load(Ordering::Relaxed)).clear() };
        TAKEN.store(false, Ordering::Relaxed);
    }
}

extern "C" fn on_crash(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes valid pointers; everything called is async-signal-safe, and
    // `backtrace` was warmed up.
    unsafe {
        if libc::getpid() == OWNER.load(Ordering::Relaxed) {
            let note = &*NOTE.load(Ordering::Relaxed);
            if !TAKEN.swap(true, Ordering::AcqRel) {
                store(note, signal, info, context);
            }
            // A crash while the stack was walked comes here too: what is stored by then counts.
            if note.how.load(Ordering::Relaxed) == 0 {
                note.signal.store(signal as u32, Ordering::Relaxed);
                note.how.store(How::Signal as u32, Ordering::Release);
            }
        }
        hand_on(signal, info, context);
    }
}

/// A sanitizer has written its report and ends the process: by a signal or an exit code, as its options
/// say. The stack is that of the report, its own frames first; after a fatal signal there is a better
/// one already.
extern "C" fn on_report() {
    // SAFETY: NOTE and OWNER are set before this is; `walk` is at a place where nothing is locked by us.
    unsafe {
        if libc::getpid() == OWNER.load(Ordering::Relaxed) && !TAKEN.swap(true, Ordering::AcqRel) {
            let note = &*NOTE.load(Ordering::Relaxed);
            note.code.store(0, Ordering::Relaxed);
            note.address.store(0, Ordering::Relaxed);
            let kept = walk(note, 0, None);
            note.stack.len.store(kept as u32, Ordering::Relaxed);
            note.how.store(How::Report as u32, Ordering::Release);
        }
    }
    sanitizer::write_stack();
}

/// # Safety
/// Only in a signal handler, with what the kernel passed.
unsafe fn store(note: &DeathNote, signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the caller's word; the buffer has room for as many addresses as are asked for.
    unsafe {
        note.code.store((*info).si_code, Ordering::Relaxed);
        let fault = matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE);
        note.address.store(if fault { (*info).si_addr() as u64 } else { 0 }, Ordering::Relaxed);

        // The place of the signal counts as a return address: one past it, as after a call, so that
        // a reader can treat all frames alike.
        let here = registers::read(context);
        note.stack.frames[0].store(here.pc.wrapping_add(1), Ordering::Relaxed);
        note.stack.len.store(1, Ordering::Relaxed);

        // Where there is no code there is nothing to unwind by, and where there is no memory the
        // unwinder itself would crash. That is a call through a wild pointer: go on from its caller.
        let mut kept = if peek(here.pc).is_some() { walk(note, 1, Some(here.pc)) } else { 1 };
        if kept == 1
            && let Some(caller) = registers::before_call(context, here)
            && peek(caller.pc).is_some()
        {
            note.stack.frames[1].store(caller.pc, Ordering::Relaxed);
            registers::write(context, caller);
            kept = walk(note, 2, Some(caller.pc));
            registers::write(context, here);
        }
        note.stack.len.store(kept as u32, Ordering::Relaxed);
    }
}

/// Stores the frames outside of the one at `pc`, or all outside of this library's, from the note's frame
/// `kept` on, up to where the target was called from; gives how many the note has then.
///
/// # Safety
/// Only where the process ends, after [`install`].
unsafe fn walk(note: &DeathNote, mut kept: usize, pc: Option<u64>) -> usize {
    let mut walked = [std::ptr::null_mut(); FRAMES + OWN];
    // SAFETY: the buffer has room for as many addresses as are asked for.
    let len = unsafe { libc::backtrace(walked.as_mut_ptr(), walked.len() as c_int) }.max(0) as usize;
    let ours = OURS.0.load(Ordering::Relaxed)..OURS.1.load(Ordering::Relaxed);
    let all = walked[..len].iter().map(|frame| *frame as u64);
    // Sanitizers put a function of their own in front of `backtrace`, which stands before ours then.
    let is_start = |f: &u64| pc.map_or(ours.contains(f), |pc| *f == pc);
    let after = all.skip_while(|f| !is_start(f)).skip(usize::from(pc.is_some()));
    let outside = after.skip_while(|f| pc.is_none() && ours.contains(f));
    for frame in outside.take_while(|f| !ours.contains(f)).take(FRAMES - kept) {
        note.stack.frames[kept].store(frame, Ordering::Relaxed);
        kept += 1;
    }
    kept
}

/// The word at an address that may not be mapped: the kernel looks, so that nothing faults.
pub fn peek(address: u64) -> Option<u64> {
    let mut word = 0u64;
    let to = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: 8 };
    let from = libc::iovec { iov_base: address as *mut c_void, iov_len: 8 };
    // SAFETY: `to` is 8 writable bytes; `from` is checked by the kernel.
    let got = unsafe { libc::process_vm_readv(libc::getpid(), &to, 1, &from, 1, 0) };
    (got == 8).then_some(word)
}

/// Calls the handler that was there before; the default is restored and raised.
///
/// # Safety
/// Only in a signal handler, with what the kernel passed.
unsafe fn hand_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(at) = SIGNALS.iter().position(|s| *s == signal) else { return };
    // SAFETY: `install` filled the entry before this handler could run; a handler has the type that
    // its flags say.
    unsafe {
        let previous = (*PREVIOUS.0.get())[at].assume_init_ref();
        match previous.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
            handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                let call: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = std::mem::transmute(handler);
                call(signal, info, context);
            }
            handler => {
                let call: extern "C" fn(c_int) = std::mem::transmute(handler);
                call(signal);
            }
        }
    }
}
