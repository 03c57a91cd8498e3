//! The stacks that handlers run on, so that one that overflowed can still be walked: one a thread.
//!
//! The main thread's is mapped once, in the server. Another thread gets one when it begins, if the witness
//! is there to say so, and gives it back when it ends, however it ends.

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use hitmap_wire::mapping::Mapping;

/// Bytes of a stack: a walk takes some twenty thousand, the rest is for handlers of the target's.
const STACK: usize = 256 << 10;

/// Stacks that wait for the next thread.
const SPARE: usize = 16;

static MAIN: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static SPARES: [AtomicPtr<c_void>; SPARE] = [const { AtomicPtr::new(std::ptr::null_mut()) }; SPARE];
/// One more than the key under which a thread keeps its stack; 0 for none.
static KEY: AtomicU32 = AtomicU32::new(0);

/// Maps the main thread's, and makes the key.
pub fn prepare() {
    if let Ok(mapping) = Mapping::anonymous(STACK) {
        MAIN.store(mapping.leak().cast(), Ordering::Relaxed);
    }
    let mut key = 0;
    // SAFETY: the key is writable, and the destructor has the type that is asked for.
    if KEY.load(Ordering::Relaxed) == 0 && unsafe { libc::pthread_key_create(&mut key, Some(give_back)) } == 0 {
        KEY.store(key + 1, Ordering::Release);
    }
}

/// Takes the main thread's.
///
/// # Errors
/// What the system reports.
pub fn take() -> io::Result<()> {
    let stack = MAIN.load(Ordering::Relaxed);
    if stack.is_null() {
        return Err(io::Error::from(io::ErrorKind::OutOfMemory));
    }
    set(stack)
}

fn set(stack: *mut c_void) -> io::Result<()> {
    let stack = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: STACK };
    // SAFETY: the memory is ours, and is mapped as long as the thread uses it.
    match unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A thread begins.
pub unsafe extern "C" fn on_thread() {
    let Some(key) = KEY.load(Ordering::Acquire).checked_sub(1) else { return };
    let spare = SPARES.iter().map(|spare| spare.swap(std::ptr::null_mut(), Ordering::AcqRel)).find(|s| !s.is_null());
    let stack = spare.or_else(|| Some(Mapping::anonymous(STACK).ok()?.leak().cast()));
    let Some(stack) = stack else { return };
    // SAFETY: the key is ours; its destructor takes a stack.
    let is_set = set(stack).is_ok() && unsafe { libc::pthread_setspecific(key, stack) } == 0;
    if !is_set {
        keep_or_unmap(stack);
    }
}

/// A thread ends.
unsafe extern "C" fn give_back(stack: *mut c_void) {
    // SAFETY: the structs are ours; the memory is what `on_thread` set, and nobody runs on it: this is no
    // signal handler.
    unsafe {
        let mut now: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(std::ptr::null(), &mut now);
        if now.ss_sp == stack {
            let none = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
            libc::sigaltstack(&none, std::ptr::null_mut());
        }
    }
    keep_or_unmap(stack);
}

fn keep_or_unmap(stack: *mut c_void) {
    let keep = |spare: &AtomicPtr<c_void>| {
        spare.compare_exchange(std::ptr::null_mut(), stack, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    if !SPARES.iter().any(keep) {
        // SAFETY: the mapping is ours, whole, and nobody uses it any more.
        unsafe { libc::munmap(stack, STACK) };
    }
}
