//! The comparison log: what the instrumented code compared, in one run that asked for it.
//!
//! It lies at the end of the region and costs nothing while [`Log::on`] is 0: its pages are not
//! touched. A **comparison build** of a library calls back at every compare, switch, and memory or
//! string compare; the callback writes both operands here. Input-to-state replacement reads them
//! (REDQUEEN, NDSS 2019, section III; the cap of entries a site is AFL++'s `CMP_MAP_H`).
//!
//! Whoever runs the target clears the log, sets `on`, runs one input, clears `on` and reads. The
//! writer takes a number by one atomic add, so threads never share an entry, and never blocks. The
//! reader trusts nothing: lengths are clamped by [`Log::entries`].

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// How many comparisons of one run are kept.
pub const ENTRIES: usize = 16_384;
/// How many bytes of an operand are kept.
pub const OPERAND: usize = 32;
/// How many counters keep loops from filling the log; a site is hashed onto one of them.
pub const SITES: usize = 4096;
/// How many comparisons of one site are kept, unless it shares its counter with another.
pub const PER_SITE: u8 = 32;

/// [`Comparison::kind`] of an integer compare.
pub const INTEGER: u8 = 1;
/// [`Comparison::kind`] of one case of a switch; the case is on the right.
pub const SWITCH: u8 = 2;
/// [`Comparison::kind`] of a compare of memory of a given length, such as `memcmp`.
pub const MEMORY: u8 = 3;
/// [`Comparison::kind`] of a compare of strings that end by themselves, such as `strcmp`.
pub const STRING: u8 = 4;

/// In [`Comparison::constant`]: the compiler knew the left operand.
pub const LEFT_CONSTANT: u8 = 1;
/// In [`Comparison::constant`]: the compiler knew the right operand.
pub const RIGHT_CONSTANT: u8 = 2;

/// One comparison: two operands that the program was interested in.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The address after the compare, in the process that ran it. Names the site, nothing else.
    pub site: u64,
    /// [`INTEGER`], [`SWITCH`], [`MEMORY`] or [`STRING`].
    pub kind: u8,
    /// Bits [`LEFT_CONSTANT`] and [`RIGHT_CONSTANT`]; 0 when that is not known.
    pub constant: u8,
    /// Bytes of the left operand that are kept, at most [`OPERAND`]. Integers are little-endian and
    /// as wide as the compare: 1, 2, 4 or 8.
    pub left_len: u8,
    /// Bytes of the right operand that are kept.
    pub right_len: u8,
    /// Keeps the operands on a multiple of 8.
    pub reserved: u32,
    /// The left operand.
    pub left: [u8; OPERAND],
    /// The right operand.
    pub right: [u8; OPERAND],
}

/// The log itself, at [`crate::region::Layout::comparisons`].
#[repr(C)]
pub struct Log {
    /// Not 0: callbacks write. Set by whoever runs the target, for a single run.
    pub on: AtomicU32,
    /// Comparisons since the last clear; more than [`ENTRIES`] means that the rest was lost.
    pub count: AtomicU32,
    /// Keeps the sites on a cache line of their own.
    pub reserved: [u32; 14],
    /// How many comparisons each site wrote, up to [`PER_SITE`].
    pub sites: [AtomicU8; SITES],
    /// The comparisons.
    pub entries: [Comparison; ENTRIES],
}

const _: () = assert!(size_of::<Comparison>() == 80);
const _: () = assert!(std::mem::offset_of!(Log, sites) == 64);
const _: () = assert!(std::mem::offset_of!(Log, entries) == 64 + SITES);

impl Comparison {
    /// The left operand's bytes; a length that lies is cut.
    pub fn left(&self) -> &[u8] {
        &self.left[..usize::from(self.left_len).min(OPERAND)]
    }

    /// The right operand's bytes; a length that lies is cut.
    pub fn right(&self) -> &[u8] {
        &self.right[..usize::from(self.right_len).min(OPERAND)]
    }
}

impl Log {
    /// Forgets what was written. Costs the sites' 4 KiB, not the entries.
    pub fn clear(&self) {
        for site in &self.sites {
            site.store(0, Ordering::Relaxed);
        }
        self.count.store(0, Ordering::Relaxed);
    }

    /// Starts or stops writing.
    pub fn set_on(&self, on: bool) {
        self.on.store(u32::from(on), Ordering::Release);
    }

    /// Comparisons that can be read, in the order in which they ran (nearly, with threads).
    ///
    /// The bytes are foreign: a child that has gone mad may have written anything, which is why
    /// operands are read by [`Comparison::left`] and [`Comparison::right`] alone.
    pub fn entries(&self) -> Vec<Comparison> {
        let count = (self.count.load(Ordering::Acquire) as usize).min(ENTRIES);
        let first = self.entries.as_ptr();
        // SAFETY: `count` entries lie within the array; any bytes are a valid `Comparison`. Volatile,
        // because another process may be writing them.
        (0..count).map(|at| unsafe { first.add(at).read_volatile() }).collect()
    }
}
