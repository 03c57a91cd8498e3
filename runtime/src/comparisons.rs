//! Compares of objects that were built with `-fsanitize-coverage=trace-cmp` and linked without the
//! comparison build's own callbacks: they call these, which write into the same log.
//!
//! The hidden callbacks in `runtime/stub/hitmap_comparisons.c` say why equal compares and switches
//! over bytes are left out, and log memory and string compares besides. While nobody asks, a call
//! costs two loads.

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering};

use hitmap_wire::comparisons::{
    Comparison, ENTRIES, INTEGER, LEFT_CONSTANT, Log, OPERAND, PER_SITE, RIGHT_CONSTANT, SITES, SWITCH,
};

/// Cases that one visit of a switch writes.
const CASES: usize = 32;

/// The log of the region in use; null while there is none. Regions are never unmapped.
static LOG: AtomicPtr<Log> = AtomicPtr::new(std::ptr::null_mut());

/// Makes `log` the one that is written.
pub fn publish(log: *const Log) {
    LOG.store(log.cast_mut(), Ordering::Release);
}

/// The log, while somebody asks for it.
#[inline]
fn asked() -> Option<*mut Log> {
    let log = LOG.load(Ordering::Relaxed);
    // SAFETY: a log that was published stays mapped; `on` is atomic.
    (!log.is_null() && unsafe { &*(&raw const (*log).on).cast::<AtomicU32>() }.load(Ordering::Relaxed) != 0)
        .then_some(log)
}

/// Writes one comparison, unless its site had its share or the log is full. Sites share counters by
/// the address within a page, which does not depend on where the loader put the library.
#[cold]
fn enter(log: *mut Log, counter: usize, comparison: Comparison) {
    // SAFETY: the log is mapped; its counters are atomic, its entries are written by number, which
    // one atomic addition hands out, and the number is checked.
    unsafe {
        let share = &*(&raw const (*log).sites).cast::<AtomicU8>().add(counter % SITES);
        let had = share.load(Ordering::Relaxed);
        if had >= PER_SITE {
            return;
        }
        share.store(had + 1, Ordering::Relaxed);
        let count = &*(&raw const (*log).count).cast::<AtomicU32>();
        let at = count.fetch_add(1, Ordering::Relaxed) as usize;
        if at >= ENTRIES {
            // It must not wrap.
            count.store(ENTRIES as u32 + 1, Ordering::Relaxed);
            return;
        }
        (&raw mut (*log).entries).cast::<Comparison>().add(at).write_volatile(comparison);
    }
}

fn comparison(site: usize, kind: u8, constant: u8, bytes: usize, left: u64, right: u64) -> Comparison {
    let operand = |value: u64| {
        let mut kept = [0; OPERAND];
        for (to, from) in kept.iter_mut().zip(value.to_le_bytes()).take(bytes) {
            *to = from;
        }
        kept
    };
    let len = bytes as u8;
    Comparison {
        site: site as u64,
        kind,
        constant,
        left_len: len,
        right_len: len,
        reserved: 0,
        left: operand(left),
        right: operand(right),
    }
}

macro_rules! trace {
    ($width:ty, $plain:ident, $plain_at:ident, $constant:ident, $constant_at:ident) => {
        extern "C" fn $plain_at(left: $width, right: $width, site: usize) {
            if let Some(log) = asked().filter(|_| left != right) {
                enter(log, site, comparison(site, INTEGER, 0, size_of::<$width>(), left.into(), right.into()));
            }
        }
        extern "C" fn $constant_at(left: $width, right: $width, site: usize) {
            if let Some(log) = asked().filter(|_| left != right) {
                let entry = comparison(site, INTEGER, LEFT_CONSTANT, size_of::<$width>(), left.into(), right.into());
                enter(log, site, entry);
            }
        }
        crate::site::third_argument!($plain, ($width, $width), $plain_at, "An integer compare.");
        crate::site::third_argument!($constant, ($width, $width), $constant_at, "The left side is a constant.");
    };
}

trace!(u8, __sanitizer_cov_trace_cmp1, cmp1, __sanitizer_cov_trace_const_cmp1, const_cmp1);
trace!(u16, __sanitizer_cov_trace_cmp2, cmp2, __sanitizer_cov_trace_const_cmp2, const_cmp2);
trace!(u32, __sanitizer_cov_trace_cmp4, cmp4, __sanitizer_cov_trace_const_cmp4, const_cmp4);
trace!(u64, __sanitizer_cov_trace_cmp8, cmp8, __sanitizer_cov_trace_const_cmp8, const_cmp8);

crate::site::third_argument!(__sanitizer_cov_trace_switch, (u64, *const u64), switch, "A switch: value, and cases.");

extern "C" fn switch(value: u64, table: *const u64, site: usize) {
    let Some(log) = asked() else { return };
    // SAFETY: the compiler gives the number of cases, their width in bits, and the sorted cases.
    let (bits, cases) =
        unsafe { (table.add(1).read(), std::slice::from_raw_parts(table.add(2), table.read() as usize)) };
    let bytes = (bits / 8) as usize;
    let small = cases.last().is_none_or(|last| *last < 256) && value < 256;
    if !(1..=8).contains(&bytes) || small {
        return;
    }
    for (i, case) in cases.iter().enumerate().filter(|(_, case)| **case != value).take(CASES) {
        enter(log, site.wrapping_add(i * 61), comparison(site, SWITCH, RIGHT_CONSTANT, bytes, value, *case));
    }
}
