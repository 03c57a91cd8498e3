//! Which ends the server's children have had: hashes of stacks, in memory that all of them share.
//!
//! All children are copies of one process, so the same code has the same addresses in all of them. It only
//! decides whether Python's stack is written once more; a child that scribbles here spoils no more than that.

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use hitmap_wire::PAGE;
use hitmap_wire::batch::notes::{DeathNote, FRAMES, How};

/// Hashes that fit.
const LEN: usize = PAGE / size_of::<AtomicU64>();
/// Entries that are looked at for one hash.
const PROBES: usize = 16;

type Table = [AtomicU64; LEN];

static TABLE: AtomicPtr<Table> = AtomicPtr::new(std::ptr::null_mut());

/// Makes the table, in the server. Without one every end is new.
pub fn prepare() {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh page that nobody else has; it is never unmapped.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, access, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0) };
    if page != libc::MAP_FAILED {
        TABLE.store(page.cast(), Ordering::Relaxed);
    }
}

/// Notes an end; says whether it was there.
pub fn note(note: &DeathNote, how: How) -> bool {
    // SAFETY: null, or a page that is large enough, aligned, and never unmapped.
    let Some(table) = (unsafe { TABLE.load(Ordering::Relaxed).as_ref() }) else { return false };
    let hash = hash(note, how);
    for at in 0..PROBES {
        let entry = &table[(hash as usize).wrapping_add(at) % LEN];
        match entry.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return false,
            Err(there) if there == hash => return true,
            Err(_) => {}
        }
    }
    false
}

/// FNV-1a over words; never 0.
fn hash(note: &DeathNote, how: How) -> u64 {
    let len = (note.stack.len.load(Ordering::Relaxed) as usize).min(FRAMES);
    let frames = note.stack.frames[..len].iter().map(|frame| frame.load(Ordering::Relaxed));
    let head = [how as u64, u64::from(note.signal.load(Ordering::Relaxed)), len as u64];
    let mix = |hash: u64, word: u64| (hash ^ word ^ (word >> 32)).wrapping_mul(0x0000_0100_0000_01B3);
    head.into_iter().chain(frames).fold(0xCBF2_9CE4_8422_2325, mix) | 1
}
