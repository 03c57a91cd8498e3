//! Looks at the stack of a run that takes too long, when the engine asks for one by a signal.
//!
//! A look is two samples. The handler takes the first, wherever the main thread is. Then Python's own handler
//! runs, so that the interpreter calls the host between two bytecodes, or where native code asks for
//! signals; there the second one is taken, with Python's stack beside it. Nothing here runs unless the
//! signal comes.

use std::ffi::{c_int, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use hitmap_wire::batch::notes::Moment;
use hitmap_wire::batch::{Batch, RECORD_PYTHON};
use hitmap_wire::control::sample_signal;
use pyo3::prelude::*;

use super::crash;

static BATCH: AtomicPtr<Batch> = AtomicPtr::new(std::ptr::null_mut());
/// What Python installed for the signal.
static PYTHONS: AtomicUsize = AtomicUsize::new(0);
/// The sample that the host is about to write; the handler takes the one after it.
static RESERVED: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Whether the run that goes on was asked for a sample: the host may come late.
static IS_ASKED: AtomicBool = AtomicBool::new(false);
/// Frames of samples. As long as they live, no other call has a frame at the same place.
static FRAMES: Mutex<Vec<Py<PyAny>>> = Mutex::new(Vec::new());

/// Has the handler in place, in front of the one that Python has by now. In the server, after the host has set
/// its own.
pub fn prepare(batch: &'static Batch) {
    BATCH.store(std::ptr::from_ref(batch).cast_mut(), Ordering::Relaxed);
    let before = crash::take_signal(sample_signal(), on_sample);
    PYTHONS.store(before, Ordering::Relaxed);
}

/// A run has ended, or none has begun yet: frames of samples may go.
#[inline]
pub fn end_run() {
    if IS_ASKED.load(Ordering::Relaxed) {
        forget();
    }
}

#[cold]
fn forget() {
    IS_ASKED.store(false, Ordering::Relaxed);
    let frames = FRAMES.try_lock().map(|mut frames| std::mem::take(&mut *frames));
    drop(frames);
}

fn batch() -> Option<&'static Batch> {
    // SAFETY: null, or what `prepare` was given, which lives as long as the process.
    unsafe { BATCH.load(Ordering::Relaxed).as_ref() }
}

unsafe extern "C" fn on_sample(signal: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes valid pointers; everything called is async-signal-safe. Python's handler is one of
    // one argument.
    unsafe {
        let main = libc::getpid();
        if libc::syscall(libc::SYS_gettid) as i32 != main {
            libc::syscall(libc::SYS_tgkill, main, main, signal);
            return;
        }
        let (Some(batch), true) = (batch(), crash::is_owner()) else { return };
        let error = *libc::__errno_location();
        let mut at = batch.samples_taken();
        if at == RESERVED.load(Ordering::Relaxed) {
            at += 1;
        }
        if let Some(note) = batch.sample_notes().get(at) {
            crash::store_interrupted(&note.stack, context);
            note.moment.store(Moment::Anywhere as u32, Ordering::Release);
        }
        IS_ASKED.store(true, Ordering::Relaxed);
        let pythons = PYTHONS.load(Ordering::Relaxed);
        if pythons != libc::SIG_DFL && pythons != libc::SIG_IGN {
            std::mem::transmute::<usize, unsafe extern "C" fn(c_int)>(pythons)(signal);
        }
        *libc::__errno_location() = error;
    }
}

/// The host's half: Python's stack as lines of a report, and its frames.
#[pyfunction]
pub fn take_sample(lines: &str, frames: Vec<Py<PyAny>>) {
    let is_wanted = IS_ASKED.load(Ordering::Relaxed) && crash::is_owner();
    let Some(batch) = batch().filter(|_| is_wanted) else { return };
    let mut at = batch.samples_taken();
    loop {
        RESERVED.store(at, Ordering::SeqCst);
        // The handler may have come in between.
        match batch.samples_taken() {
            taken if taken == at => break,
            taken => at = taken,
        }
    }
    if let Some(note) = batch.sample_notes().get(at) {
        crash::store_here(&note.stack);
        batch.add_record(at, RECORD_PYTHON, lines.as_bytes());
        note.moment.store(Moment::Python as u32, Ordering::Release);
    }
    RESERVED.store(usize::MAX, Ordering::SeqCst);
    if let Ok(mut kept) = FRAMES.try_lock() {
        kept.extend(frames);
    }
}
