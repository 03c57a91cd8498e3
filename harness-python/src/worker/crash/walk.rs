//! One look at a stack, into a note. Runs in signal handlers.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use hitmap_wire::batch::notes::{FRAMES, NO_FRAME, OUTER_FRAMES, StackNote};
use hitmap_wire::identity;

use super::witness;
use crate::worker::barrier;

/// Frames that are walked beyond those that are kept, so that a reader sees that there are more.
const BEYOND: usize = 4;

/// Code of hitmap's own: its frames say nothing of the target. A pair each for the extension and the witness.
static OURS: [(AtomicU64, AtomicU64); 2] = [const { (AtomicU64::new(0), AtomicU64::new(0)) }; 2];

/// Where a walk starts.
#[derive(Clone, Copy)]
pub enum From {
    /// At the caller of our own code.
    Caller,
    /// At the frame that a signal interrupted here. It is stored as it stands when it is a return address.
    Interrupted {
        /// The address.
        pc: u64,
        /// Whether a call returns there.
        is_return: bool,
    },
}

/// How far a walk goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Up to what a note keeps from the innermost frame.
    Inner,
    /// To the end.
    Whole,
}

#[allow(non_camel_case_types, reason = "the name that unwind.h has")]
type _Unwind_Trace = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;

#[link(name = "gcc_s")]
unsafe extern "C" {
    fn _Unwind_Backtrace(trace: _Unwind_Trace, argument: *mut c_void) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, is_before: *mut c_int) -> usize;
    fn _Unwind_GetRegionStart(context: *mut c_void) -> usize;
    fn _Unwind_FindEnclosingFunction(address: *mut c_void) -> *mut c_void;
}

/// `_URC_NO_REASON`: go on.
const GO_ON: c_int = 0;
/// `_URC_NORMAL_STOP`.
const STOP: c_int = 4;

struct Walk<'a> {
    note: &'a StackNote,
    from: From,
    depth: Depth,
    has_started: bool,
    len: usize,
    interrupted: u32,
    /// Whether the last two frames were our own.
    were_ours: [bool; 2],
    outer: [u64; OUTER_FRAMES],
}

/// Learns where our own code lies, and has the unwinder load what it needs.
pub fn prepare() {
    let witness = witness::code();
    for (at, code) in [Some(prepare as *const () as usize), witness].into_iter().enumerate() {
        if let Some(library) = code.and_then(identity::holding) {
            OURS[at].0.store(library.span.0, Ordering::Relaxed);
            OURS[at].1.store(library.span.1, Ordering::Relaxed);
        }
    }
    extern "C" fn one(_: *mut c_void, _: *mut c_void) -> c_int {
        GO_ON
    }
    // SAFETY: the function has the type that is asked for and reads nothing.
    unsafe { _Unwind_Backtrace(one, std::ptr::null_mut()) };
}

fn is_ours(address: u64) -> bool {
    OURS.iter().any(|(start, end)| (start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed)).contains(&address))
}

/// Stores the calling thread's stack up to where the target was called from; gives how many frames it has
/// there.
pub fn store(note: &StackNote, from: From, depth: Depth) -> usize {
    clear(note);
    go_on(note, 0, from, depth)
}

/// Stores a stack whose innermost frame is at `pc`, where nothing can be walked, and the next at `caller`,
/// which the signal's context was changed to.
pub fn store_after(note: &StackNote, pc: u64, caller: u64, depth: Depth) {
    store_one(note, pc);
    go_on(note, 1, From::Interrupted { pc: caller, is_return: true }, depth);
}

/// Stores a stack of one frame, which a signal interrupted.
pub fn store_one(note: &StackNote, pc: u64) {
    clear(note);
    note.frames[0].store(pc.wrapping_add(1), Ordering::Relaxed);
    note.interrupted.store(0, Ordering::Relaxed);
    note.len.store(1, Ordering::Relaxed);
    note.depth.store(1, Ordering::Relaxed);
}

fn clear(note: &StackNote) {
    note.len.store(0, Ordering::Relaxed);
    note.outer_len.store(0, Ordering::Relaxed);
    note.depth.store(0, Ordering::Relaxed);
    note.interrupted.store(NO_FRAME, Ordering::Relaxed);
}

fn go_on(note: &StackNote, len: usize, from: From, depth: Depth) -> usize {
    let interrupted = note.interrupted.load(Ordering::Relaxed);
    let outer = [0; OUTER_FRAMES];
    let mut walk = Walk { note, from, depth, has_started: false, len, interrupted, were_ours: [false; 2], outer };
    // SAFETY: `step` has the type that is asked for, and gets the walk, which outlives the call.
    unsafe { _Unwind_Backtrace(step, (&raw mut walk).cast()) };
    let beyond = if depth == Depth::Whole { walk.len.saturating_sub(FRAMES).min(OUTER_FRAMES) } else { 0 };
    for at in 0..beyond {
        let frame = walk.outer[(walk.len - beyond + at) % OUTER_FRAMES];
        note.outer[at].store(frame, Ordering::Relaxed);
    }
    note.outer_len.store(beyond as u32, Ordering::Relaxed);
    walk.len
}

/// Where the function of a return address begins; 0 when nobody knows.
pub fn function(frame: u64) -> u64 {
    // SAFETY: an address that is in no code is looked up in vain.
    unsafe { _Unwind_FindEnclosingFunction(frame.wrapping_sub(1) as *mut c_void) as u64 }
}

/// One frame of a walk.
pub struct Frame {
    /// Its return address, or where it was interrupted.
    pub address: u64,
    /// Whether a signal interrupted it.
    pub is_interrupted: bool,
    /// Where its function begins.
    pub function: u64,
}

/// Visits the calling thread's frames outside of our own code, innermost first, up to where the target was called
/// from, as long as `visit` says so.
pub fn each(mut visit: impl FnMut(Frame) -> bool) {
    unsafe extern "C" fn look<F: FnMut(Frame) -> bool>(context: *mut c_void, visit: *mut c_void) -> c_int {
        // SAFETY: `walk` passes its function, and the unwinder its context.
        let (frame, visit) = unsafe {
            let mut is_before = 0;
            let address = _Unwind_GetIPInfo(context, &mut is_before) as u64;
            let function = _Unwind_GetRegionStart(context) as u64;
            (Frame { address, is_interrupted: is_before != 0, function }, &mut *visit.cast::<F>())
        };
        let is_over = barrier::is_barrier(frame.address) || !(is_ours(frame.address) || visit(frame));
        if is_over { STOP } else { GO_ON }
    }
    fn walk<F: FnMut(Frame) -> bool>(visit: &mut F) {
        // SAFETY: `look` has the type that is asked for, and gets the function, which outlives the call.
        unsafe { _Unwind_Backtrace(look::<F>, (&raw mut *visit).cast()) };
    }
    walk(&mut visit);
}

/// Whether a frame that a signal interrupted, stored as `address`, is on the calling thread's stack.
pub fn passes(address: u64) -> bool {
    let mut found = false;
    each(|frame| {
        found = frame.is_interrupted && frame.address.wrapping_add(1) == address;
        !found
    });
    found
}

unsafe extern "C" fn step(context: *mut c_void, argument: *mut c_void) -> c_int {
    // SAFETY: `store` passes its walk, and the unwinder its context.
    let (walk, address, is_interrupted) = unsafe {
        let mut is_before = 0;
        let address = _Unwind_GetIPInfo(context, &mut is_before) as u64;
        (&mut *argument.cast::<Walk<'_>>(), address, is_before != 0)
    };
    // The kernel's own frame stands between an interrupted function and its handler.
    let [handler_is_ours, last] = walk.were_ours;
    walk.were_ours = [last, is_ours(address)];
    if barrier::is_barrier(address) {
        return STOP;
    }
    let mut is_return = !is_interrupted;
    if !walk.has_started {
        match walk.from {
            From::Caller if is_ours(address) => return GO_ON,
            From::Caller => {}
            From::Interrupted { pc, .. } if !is_interrupted || address != pc => return GO_ON,
            From::Interrupted { is_return: so, .. } => is_return = so,
        }
        walk.has_started = true;
    } else if is_ours(address) {
        return GO_ON;
    }
    // With the witness, handlers of fatal signals are called by ours; any other handler is that of a signal which
    // came at a chance place.
    if !is_return && (walk.len == 0 || handler_is_ours || !witness::is_heard()) {
        walk.interrupted = walk.len as u32;
    }
    keep(walk, if is_return { address } else { address.wrapping_add(1) });
    if walk.depth == Depth::Inner && walk.len == FRAMES + BEYOND { STOP } else { GO_ON }
}

/// What is stored so far counts also when the walk itself crashes.
fn keep(walk: &mut Walk<'_>, address: u64) {
    if let Some(frame) = walk.note.frames.get(walk.len) {
        frame.store(address, Ordering::Relaxed);
        walk.note.len.store(walk.len as u32 + 1, Ordering::Relaxed);
        if walk.interrupted != NO_FRAME {
            walk.note.interrupted.store(walk.interrupted, Ordering::Relaxed);
        }
    }
    walk.outer[walk.len % OUTER_FRAMES] = address;
    walk.len += 1;
    walk.note.depth.store(walk.len as u32, Ordering::Relaxed);
}
