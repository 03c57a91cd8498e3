//! How the target ends, written down where it ends: raw return addresses in the batch file.
//!
//! Handlers store numbers and hand on to whoever was there before, in an ordinary worker Python's
//! faulthandler, which writes the Python stack to the log and lets the signal kill the process. Naming
//! the addresses is the engine's work, in its own time.
//!
//! There is one note, and the first event of an end keeps it: what `std::terminate` and a sanitizer's
//! report lead to is their consequence, and so is what happens while a handler of the target's own deals
//! with a signal. A signal after which the target went on is forgotten at the next one, or when the run
//! is over.
//!
//! | module | owns |
//! |---|---|
//! | [`walk`] | one look at a stack |
//! | [`seen`] | which ends the server's children have had |
//! | [`signals`] | what the target wants done about signals |
//! | [`stacks`] | the stacks that handlers run on |
//! | [`cxx`] | the C++ libraries in the process: `std::terminate`, and what was thrown |
//! | [`witness`] | what the process was started with to hear of all this |

pub mod cxx;
mod seen;
mod signals;
mod stacks;
pub mod walk;
pub mod witness;

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

use hitmap_wire::batch::Batch;
use hitmap_wire::batch::notes::{DeathNote, FROM_OUTSIDE, How, PYTHON_TELLS, STACK_ENDED, StackNote, TEXT};
use hitmap_wire::witness::Hooks;

use super::{listed, origin, registers, sanitizer};
use walk::{Depth, From};

/// Signals that say that the program went wrong.
pub const FATAL: [c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGSYS, libc::SIGTRAP];

static BATCH: AtomicPtr<Batch> = AtomicPtr::new(std::ptr::null_mut());
/// The process that the note belongs to: what a target forks has a copy of these handlers.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Whose signals come from the engine.
static SERVER: AtomicI32 = AtomicI32::new(0);
/// Whether there is a note.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// The thread that writes one now.
static WRITER: AtomicI32 = AtomicI32::new(0);
/// Whether a deep stack is walked to its end.
static IS_THOROUGH: AtomicBool = AtomicBool::new(false);
/// Whether the main thread asked to end itself.
static HAS_LEFT: AtomicBool = AtomicBool::new(false);
/// Whether an end like the one that is noted was seen in an earlier child.
static IS_KNOWN: AtomicBool = AtomicBool::new(false);
/// glibc's `__abort_msg`: what an assertion, a damaged heap or a smashed stack had to say.
static ABORT_MESSAGE: AtomicPtr<*const c_void> = AtomicPtr::new(std::ptr::null_mut());
/// What hitmap itself has to say of the abort that follows.
static REASON: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());

static HOOKS: Hooks = Hooks {
    thread: stacks::on_thread,
    action: signals::on_action,
    mask: signals::on_mask,
    exit: on_exit_now,
    leave: on_leave,
    throw: cxx::on_throw,
    thrower: cxx::on_thrower,
    set_terminate: cxx::on_set_terminate,
    get_terminate: cxx::on_get_terminate,
};

/// Has everything in place that a child needs, in the server: children inherit it. The note is in `batch`.
pub fn prepare(batch: &'static Batch) {
    BATCH.store(std::ptr::from_ref(batch).cast_mut(), Ordering::Relaxed);
    // SAFETY: the name ends with a zero; glibc's variable of this name is a pointer.
    let message = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__abort_msg".as_ptr()) };
    ABORT_MESSAGE.store(message.cast(), Ordering::Relaxed);
    walk::prepare();
    sanitizer::look();
    stacks::prepare();
    seen::prepare();
    witness::listen(&HOOKS);
    cxx::prepare();
    // SAFETY: the functions have the types that are asked for, and do nothing in the server.
    unsafe {
        libc::atexit(on_exit);
        at_quick_exit(on_exit);
    }
    signals::install();
}

/// Remembers the handler by which Python's stack is written, before the target can set one.
pub fn note_pythons_handler() {
    signals::note_pythons();
}

/// Takes the note for this process, a child of `server`. After [`prepare`].
///
/// # Errors
/// When the system refuses the stack.
pub fn install(server: i32) -> std::io::Result<()> {
    stacks::take()?;
    SERVER.store(server, Ordering::Relaxed);
    TAKEN.store(false, Ordering::Relaxed);
    WRITER.store(0, Ordering::Relaxed);
    OWNER.store(std::process::id() as i32, Ordering::Release);
    sanitizer::listen(on_report);
    if !witness::is_heard() {
        // What the target's own fork handlers set may stand in front.
        signals::install();
    }
    Ok(())
}

/// The process is about to end by our own will.
pub fn disown() {
    OWNER.store(0, Ordering::Relaxed);
}

/// Whether stacks are walked to their ends from now on: it takes long where they are deep.
pub fn be_thorough(is_so: bool) {
    IS_THOROUGH.store(is_so, Ordering::Relaxed);
}

/// Forgets a note when the process goes on: some libraries use traps in their ordinary work.
#[inline]
pub fn forget_survived() {
    if TAKEN.load(Ordering::Relaxed) {
        if let Some(note) = note() {
            note.clear();
        }
        TAKEN.store(false, Ordering::Relaxed);
        IS_KNOWN.store(false, Ordering::Relaxed);
        HAS_LEFT.store(false, Ordering::Relaxed);
        // SAFETY: glibc's variable, if there is one.
        if let Some(message) = unsafe { ABORT_MESSAGE.load(Ordering::Relaxed).as_mut() } {
            *message = std::ptr::null();
        }
    }
}

/// Ends a child whose control flow left the run by a jump: it is in the server's code now, and must not
/// become a second server.
pub fn jumped_out() -> ! {
    let why = c"the target left its run by longjmp to a place outside, as one that setjmp saved while it was imported";
    REASON.store(why.as_ptr().cast_mut(), Ordering::Relaxed);
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}

fn batch() -> Option<&'static Batch> {
    // SAFETY: null, or what `prepare` was given, which lives as long as the process.
    unsafe { BATCH.load(Ordering::Relaxed).as_ref() }
}

fn note() -> Option<&'static DeathNote> {
    batch().map(Batch::death_note)
}

fn thread() -> i32 {
    // SAFETY: no pointers are passed.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// The right to write the note. One that is given back without a word has kept what was there.
struct Pen(&'static DeathNote);

impl Pen {
    /// `None` in processes that the note does not belong to, and for a thread that writes it already: then
    /// the walk itself went wrong, and what is there by then counts.
    fn take() -> Option<Pen> {
        /// The others may be in the middle of a walk; after that the process ends.
        const PATIENCE: usize = 2000;
        if !is_owner() {
            return None;
        }
        let (note, own) = (note()?, thread());
        for _ in 0..PATIENCE {
            match WRITER.compare_exchange(0, own, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(Pen(note)),
                Err(writer) if writer == own => return None,
                Err(_) => {
                    let tick = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
                    // SAFETY: the pointer is to a filled struct.
                    unsafe { libc::nanosleep(&tick, std::ptr::null_mut()) };
                }
            }
        }
        None
    }

    /// Whether what is noted already is what led here.
    fn is_settled(&self) -> bool {
        match how(self.0) {
            0 => false,
            how if how == How::Signal as u32 => {
                self.0.thread.load(Ordering::Relaxed) != thread() as u32
                    || walk::passes(self.0.stack.frames[0].load(Ordering::Relaxed))
            }
            _ => true,
        }
    }

    /// Begins a new note.
    fn begin(&self) {
        self.0.clear();
        TAKEN.store(true, Ordering::Relaxed);
        self.0.thread.store(thread() as u32, Ordering::Relaxed);
    }

    fn finish(self, how: How) {
        if let Some(batch) = batch() {
            listed::add_late(batch);
        }
        let stack = &self.0.stack;
        let frames = stack.frames.iter().take(stack.len.load(Ordering::Relaxed) as usize);
        let is_pythons = origin::is_pythons(frames.map(|frame| frame.load(Ordering::Relaxed)));
        if is_pythons {
            self.0.flags.fetch_or(PYTHON_TELLS, Ordering::Relaxed);
        }
        // What is observed is told in full, and so is what only Python's stack can name.
        let is_known = seen::note(self.0, how) && !is_pythons && !IS_THOROUGH.load(Ordering::Relaxed);
        IS_KNOWN.store(is_known, Ordering::Relaxed);
        self.0.how.store(how as u32, Ordering::Release);
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        WRITER.store(0, Ordering::Release);
    }
}

fn how(note: &DeathNote) -> u32 {
    note.how.load(Ordering::Relaxed)
}

fn depth() -> Depth {
    if IS_THOROUGH.load(Ordering::Relaxed) { Depth::Whole } else { Depth::Inner }
}

unsafe extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes valid pointers; everything called is async-signal-safe.
    unsafe {
        if signals::is_ignored(signal, info) {
            // `abort` goes on, and ends the process where nobody is asked any more.
            if signal == libc::SIGABRT
                && let Some(pen) = Pen::take().filter(|pen| how(pen.0) == 0)
            {
                write(pen, signal, info, context, false);
            }
            return;
        }
        let stack_ended = has_stack_ended(signal, info, context);
        match Pen::take() {
            // Whoever catches a forced unwind and does not go on with it is ended for that.
            Some(pen) if how(pen.0) == How::Exit as u32 && HAS_LEFT.load(Ordering::Relaxed) => {}
            Some(pen) if how(pen.0) != How::Exit as u32 && pen.is_settled() => {}
            Some(pen) => write(pen, signal, info, context, stack_ended),
            None => {
                // Our own walk crashed, over a stack that the target has destroyed: better a short note than none.
                if let Some(note) = note().filter(|note| how(note) == 0 && is_writing()) {
                    note.how.store(How::Signal as u32, Ordering::Release);
                    let first = note.signal.load(Ordering::Relaxed) as c_int;
                    if first != 0 && first != signal {
                        signals::end(first);
                        return;
                    }
                }
            }
        }
        // faulthandler does not hear these.
        let is_pythons = |note: &DeathNote| note.flags.load(Ordering::Relaxed) & PYTHON_TELLS != 0;
        if signals::ENDING.contains(&signal) && is_owner() && note().is_some_and(is_pythons) {
            sanitizer::write_stack();
        }
        signals::hand_on(signal, info, context, stack_ended, IS_KNOWN.load(Ordering::Relaxed));
    }
}

fn is_writing() -> bool {
    WRITER.load(Ordering::Relaxed) == thread()
}

/// # Safety
/// Only in a signal handler, with what the kernel passed.
unsafe fn write(pen: Pen, signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void, stack_ended: bool) {
    let note = pen.0;
    pen.begin();
    // SAFETY: the caller's word.
    unsafe {
        let code = (*info).si_code;
        note.signal.store(signal as u32, Ordering::Relaxed);
        note.code.store(code, Ordering::Relaxed);
        let fault = matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE) && code > 0;
        note.address.store(if fault { (*info).si_addr() as u64 } else { 0 }, Ordering::Relaxed);
        let mut flags = if stack_ended { STACK_ENDED } else { 0 };
        if matches!(code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL) {
            let sender = (*info).si_pid();
            note.sender.store(sender as u32, Ordering::Relaxed);
            if sender != OWNER.load(Ordering::Relaxed) && sender != SERVER.load(Ordering::Relaxed) {
                flags |= FROM_OUTSIDE;
            }
        }
        note.flags.store(flags, Ordering::Relaxed);
        if signal == libc::SIGABRT {
            write_text(note);
        }
        store_interrupted(&note.stack, context);
    }
    pen.finish(How::Signal);
}

/// Stores the stack that a signal interrupted.
///
/// # Safety
/// Only in a signal handler, with what the kernel passed.
pub unsafe fn store_interrupted(note: &StackNote, context: *mut c_void) {
    // SAFETY: the caller's word.
    unsafe {
        let here = registers::read(context);
        // Where there is no code there is nothing to unwind by, and where there is no memory the
        // unwinder itself would crash. That is a call through a wild pointer: go on from its caller.
        let from = From::Interrupted { pc: here.pc, is_return: false };
        let kept = if peek(here.pc).is_some() { walk::store(note, from, depth()) } else { 0 };
        if kept <= 1
            && let Some(caller) = registers::before_call(context, here)
            && peek(caller.pc).is_some()
        {
            registers::write(context, caller);
            walk::store_after(note, here.pc, caller.pc, depth());
            registers::write(context, here);
        } else if kept == 0 {
            walk::store_one(note, here.pc);
        }
    }
}

/// Stores the stack from the caller of our own code on.
pub fn store_here(note: &StackNote) {
    walk::store(note, From::Caller, depth());
}

/// Whether the note belongs to this process: what the target forks has a copy of all this.
pub fn is_owner() -> bool {
    // SAFETY: no pointers are passed.
    unsafe { libc::getpid() == OWNER.load(Ordering::Acquire) }
}

/// Whether this is a process that the target started, by `fork` or by `vfork`.
pub fn is_somebody_elses() -> bool {
    let owner = OWNER.load(Ordering::Acquire);
    // SAFETY: no pointers are passed.
    owner != 0 && owner != unsafe { libc::getpid() }
}

/// Takes a signal for ourselves; gives the handler that was set.
pub fn take_signal(
    signal: c_int,
    handler: unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void),
) -> libc::sighandler_t {
    signals::take(signal, handler)
}

/// Whether the fault hit the end of the stack: memory that is not there, at the stack pointer or right
/// beside it.
///
/// # Safety
/// Only in a signal handler, with what the kernel passed.
unsafe fn has_stack_ended(signal: c_int, info: *const libc::siginfo_t, context: *mut c_void) -> bool {
    /// What one step can go below the stack pointer: a red zone, a probe, a small function's arguments.
    const BELOW: u64 = 128 << 10;
    const BESIDE: u64 = 64 << 10;
    /// How large one function's variables may be.
    const LARGEST: u64 = 16 << 20;
    if !matches!(signal, libc::SIGSEGV | libc::SIGBUS) {
        return false;
    }
    // SAFETY: the caller's word.
    let (code, address, sp) = unsafe { ((*info).si_code, (*info).si_addr() as u64, registers::read(context).sp) };
    // A number that is no address at all has `SI_KERNEL` and no address.
    if code <= 0 || code == SI_KERNEL || address.wrapping_sub(sp.wrapping_sub(BELOW)) > BELOW + LARGEST {
        return false;
    }
    let is_beside = address < sp.wrapping_add(BESIDE);
    peek(address & !7).is_none() && (is_beside || peek(sp & !7).is_none())
}

/// `si_code` of a signal that the kernel raised without saying why.
const SI_KERNEL: c_int = 0x80;

/// glibc's last words, if it said some.
fn write_text(note: &DeathNote) {
    let reason = REASON.load(Ordering::Relaxed);
    let from = if reason.is_null() {
        // SAFETY: glibc's variable, if there is one; a pointer to a length and a text.
        match unsafe { ABORT_MESSAGE.load(Ordering::Relaxed).as_ref() } {
            Some(message) if !message.is_null() => *message as u64 + 4,
            _ => return,
        }
    } else {
        reason as u64
    };
    let mut text = [0u8; TEXT];
    let len = copy(from, &mut text);
    write_bytes(&note.text_len, &note.text, &text[..len]);
}

/// Stores a text up to its zero.
fn write_bytes(len: &std::sync::atomic::AtomicU32, to: &[std::sync::atomic::AtomicU8], text: &[u8]) {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let text = text[..end.min(to.len())].trim_ascii_end();
    for (to, byte) in to.iter().zip(text) {
        to.store(*byte, Ordering::Relaxed);
    }
    len.store(text.len() as u32, Ordering::Relaxed);
}

/// A sanitizer has written its report and ends the process: by a signal or an exit code, as its options
/// say. The stack is that of the report, its own frames first; after a fatal signal there is a better
/// one already.
extern "C" fn on_report() {
    if let Some(pen) = Pen::take() {
        if how(pen.0) == 0 || !pen.is_settled() {
            pen.begin();
            walk::store(&pen.0.stack, From::Caller, depth());
        }
        pen.finish(How::Report);
    }
    sanitizer::write_stack();
}

/// The process ends by a call.
extern "C" fn on_exit() {
    if let Some(pen) = Pen::take()
        && !pen.is_settled()
    {
        pen.begin();
        walk::store(&pen.0.stack, From::Caller, depth());
        let note = pen.0;
        pen.finish(How::Exit);
        if note.flags.load(Ordering::Relaxed) & PYTHON_TELLS != 0 {
            sanitizer::write_stack();
        }
    }
}

unsafe extern "C" fn on_exit_now(_: c_int) {
    on_exit();
}

/// A thread ends itself. When the main one does, nobody comes back to the child's loop.
unsafe extern "C" fn on_leave() {
    // SAFETY: no pointers are passed.
    if thread() == unsafe { libc::getpid() } {
        on_exit();
        HAS_LEFT.store(true, Ordering::Relaxed);
    }
}

/// A forced unwind leaves the target: its thread, the child's only one that counts, ends.
pub fn leaves_by_force() {
    on_exit();
}

unsafe extern "C" {
    fn at_quick_exit(function: extern "C" fn()) -> c_int;
}

/// The word at an address that may not be mapped: the kernel looks, so that nothing faults.
pub fn peek(address: u64) -> Option<u64> {
    let mut word = [0; 8];
    (copy(address, &mut word) == 8).then(|| u64::from_ne_bytes(word))
}

/// Copies memory that may not be there; gives how much of it is.
fn copy(address: u64, to: &mut [u8]) -> usize {
    let len = to.len();
    // A copy that begins well ends at the first page that is not there.
    let to = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: len };
    let from = libc::iovec { iov_base: address as *mut c_void, iov_len: len };
    // SAFETY: `to` is writable; `from` is checked by the kernel.
    let got = unsafe { libc::process_vm_readv(libc::getpid(), &to, 1, &from, 1, 0) };
    usize::try_from(got).unwrap_or(0)
}
