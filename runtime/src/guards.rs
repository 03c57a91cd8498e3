//! Guards: counting by a callback, with a journal.
//!
//! A guard is the compiler's slot of four bytes; the runtime writes the edge's number into it. The
//! callback adds one to that edge's counter, up to 255, and journals the first touch. Guard 0 is
//! nowhere: its counter stays at 255, so it takes the cheap branch and journals nothing.
//!
//! The callback here serves objects that were linked without our stub (memcov's way, prebuilt
//! objects). The stub has the same one, hidden in each library, which saves the PLT hop.

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering};

use hitmap_wire::comparisons::Log;
use hitmap_wire::region::Region;

use crate::{comparisons, covmap};

/// Where guards count. One for each region that was ever live; leaked, so a thread that still holds
/// an old one counts into an old region and breaks nothing.
#[repr(C)]
pub struct Plane {
    /// The first counter, that of edge 0.
    pub counters: *mut u8,
    /// Entries pushed so far.
    pub journal_len: *const AtomicU32,
    /// The journal.
    pub journal: *const AtomicU32,
    /// Entries that fit.
    pub journal_capacity: u32,
    /// Zero.
    pub reserved: u32,
    /// The comparison log of the same region.
    pub comparisons: *const Log,
}

const _: () = assert!(size_of::<Plane>() == 40);

impl Plane {
    /// The plane of a region that lives as long as the process.
    pub fn of(region: &'static Region) -> &'static Plane {
        let journal = region.journal();
        Box::leak(Box::new(Plane {
            counters: region.counters(),
            journal_len: &raw const region.header().journal_len,
            journal: journal.as_ptr(),
            journal_capacity: journal.len() as u32,
            reserved: 0,
            comparisons: &raw const *region.comparisons(),
        }))
    }
}

static NOWHERE: AtomicU8 = AtomicU8::new(u8::MAX);
static COUNTERS: AtomicPtr<u8> = AtomicPtr::new((&raw const NOWHERE).cast_mut().cast());
static PLANE: AtomicPtr<Plane> = AtomicPtr::new(std::ptr::null_mut());

/// Makes `plane` the one that the shared callbacks write into.
pub fn publish(plane: &'static Plane) {
    comparisons::publish(plane.comparisons);
    PLANE.store((&raw const *plane).cast_mut(), Ordering::Release);
    COUNTERS.store(plane.counters, Ordering::Release);
}

/// [`publish`] for a plane of another copy of the runtime in this process.
///
/// # Safety
/// `plane` must be null or a plane that is never freed.
pub unsafe extern "C" fn publish_foreign(plane: *const Plane) {
    // SAFETY: the caller's word; the runtime leaks its planes and is never unloaded.
    if let Some(plane) = unsafe { plane.as_ref() } {
        publish(plane);
    }
}

/// Gives `count` guards the numbers from `first` on, or 0 to all when `first` is 0.
///
/// # Safety
/// `guards` must be writable for `count` guards. Threads may run their callbacks meanwhile.
pub unsafe fn number(guards: *mut u32, count: u32, first: u32) {
    for i in 0..count {
        let edge = if first == 0 { 0 } else { first + i };
        // SAFETY: the caller's word; guards are aligned words and the store is atomic.
        unsafe { AtomicU32::from_ptr(guards.add(i as usize)) }.store(edge, Ordering::Relaxed);
    }
}

/// Counts one hit of a guard.
///
/// # Safety
/// `guard` must be a guard that holds 0 or a number which [`number`] wrote.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_trace_pc_guard(guard: *const u32) {
    // SAFETY: numbers that were handed out are below the capacity of the region whose plane is
    // live, and while none is live every guard is 0. Bytes are relaxed atomics: a race between two
    // threads can lose a count, never the hit.
    unsafe {
        let edge = *guard;
        let counter = &*COUNTERS.load(Ordering::Relaxed).add(edge as usize).cast::<AtomicU8>();
        match counter.load(Ordering::Relaxed) {
            0 => first_touch(counter, edge),
            // A full counter is written again: to leave it out is one more branch that is taken, which
            // costs more than the store does (RE2, ten per cent of a call).
            // Written so, it is shorter than saturating_add (RE2 and rapidjson, six to seven per cent of a call).
            count => counter.store(count.wrapping_add(u8::from(count != u8::MAX)), Ordering::Relaxed),
        }
    }
}

/// The byte first, then the journal: the other way round a reader could take the entry, find 0, and
/// never hear of the edge again.
#[cold]
#[inline(never)]
fn first_touch(counter: &AtomicU8, edge: u32) {
    counter.store(1, Ordering::Relaxed);
    covmap::touched(edge);
    // SAFETY: a plane is published before any counter can be 0, and it is never freed; the index is
    // checked against the journal's capacity.
    unsafe {
        let Some(plane) = PLANE.load(Ordering::Acquire).as_ref() else { return };
        let at = (*plane.journal_len).fetch_add(1, Ordering::Relaxed);
        if at < plane.journal_capacity {
            (*plane.journal.add(at as usize)).store(edge, Ordering::Relaxed);
        }
    }
}
