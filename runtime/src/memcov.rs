//! memcov's calls, over this process's view.
//!
//! Three lines of memcov are in use, and all of their names are here: `mcov_get_now` and its family
//! (one bit an edge, edge numbers from 1), the `bitmap` branch's (the same, from 0), and the fork for
//! `multiprocessing` (`serialize_mem_coverage`). Bits lie least significant first, edge i in byte
//! i/8, dense whatever gaps the region has.
//!
//! The buffers come without a length. So never more is read or written than a caller can have made
//! room for: what the last `mcov_get_total` or `mcov_get_bitmap_bytes` said, although more edges may
//! be known by now. A caller that has not asked gets nothing, and a sentence.

use std::sync::atomic::{AtomicBool, Ordering};

use hitmap_wire::class::Class;

use crate::process::Process;
use crate::{abi, say};

/// The number of the first edge in a buffer: the two families differ in it.
type Family = usize;
const MASTER: Family = 1;
const BITMAP: Family = 0;

/// What memcov's callers said, and were told.
pub struct State {
    /// `set_now`: the number, and what the view was like then.
    said: Option<Said>,
    /// How many edges each family's caller knows of: index 0 the bitmap's, 1 master's.
    reported: [Option<usize>; 2],
    serialized: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Said {
    now: u64,
    hits: u64,
    turn: u64,
}

impl State {
    /// Nothing said yet.
    pub const NEW: State = State { said: None, reported: [None; 2], serialized: Vec::new() };
}

/// The part of memcov that needs the process's state, for [`abi::Table`]: a second runtime calls the
/// first one's. Append-only.
#[repr(C)]
#[allow(missing_docs, reason = "each field is described at the function that it points to")]
pub struct Calls {
    pub now: extern "C" fn() -> usize,
    pub set_now: extern "C" fn(usize),
    pub total: extern "C" fn(Family) -> usize,
    pub copy: extern "C" fn(Family, *mut u8),
    pub set: extern "C" fn(Family, *const u8),
    pub serialize: extern "C" fn(*mut usize) -> *const u8,
    pub deserialize: extern "C" fn(*const u8, usize),
}

/// This runtime's own.
pub static OWN: Calls = Calls { now, set_now, total, copy, set, serialize, deserialize };

fn calls() -> &'static Calls {
    abi::table().memcov
}

extern "C" fn now() -> usize {
    abi::swept(0, |process| {
        let hits = process.view.hits();
        let said = process.memcov.said.filter(|said| said.turn == process.view.turn());
        // Edges that are new since count on top of what was said, as they did for memcov.
        said.map_or(hits, |said| said.now + hits.saturating_sub(said.hits)) as usize
    })
}

extern "C" fn set_now(now: usize) {
    abi::swept((), |process| {
        let (hits, turn) = (process.view.hits(), process.view.turn());
        process.memcov.said = Some(Said { now: now as u64, hits, turn });
    });
}

extern "C" fn total(family: Family) -> usize {
    abi::fresh(0, |process| {
        let edges = process.view.classes().len();
        process.memcov.reported[family & 1] = Some(edges);
        edges
    })
}

/// How many edges the caller's buffer is for; `None`, with a sentence, when nobody asked.
fn reported(process: &Process, family: Family) -> Option<usize> {
    let known = process.memcov.reported[family & 1];
    if known.is_none() {
        let ask = if family == MASTER { "mcov_get_total" } else { "mcov_get_bitmap_bytes" };
        say::line(format_args!("a hitmap buffer was passed before {ask} told its size: nothing is copied"));
    }
    known
}

extern "C" fn copy(family: Family, buffer: *mut u8) {
    abi::swept((), |process| {
        let Some(edges) = reported(process, family).filter(|_| !buffer.is_null()) else { return };
        let classes = process.view.classes();
        // SAFETY: the caller's buffer has room for the edges that it was told of (the module's rule).
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, bytes_for(family, edges)) };
        pack(&classes[..edges.min(classes.len())], family, buffer);
    });
}

extern "C" fn set(family: Family, buffer: *const u8) {
    abi::swept((), |process| {
        let Some(edges) = reported(process, family).filter(|_| !buffer.is_null()) else { return };
        // SAFETY: as for `copy`; only read.
        let bits = unsafe { std::slice::from_raw_parts(buffer, bytes_for(family, edges)) };
        process.view.clear();
        merge(process, family, bits, edges);
    });
}

/// Bytes that hold the bits of `edges` edges. Never more than memcov's callers have: one byte an edge.
fn bytes_for(first: usize, edges: usize) -> usize {
    if edges == 0 { 0 } else { (first + edges).div_ceil(8) }
}

/// Writes one bit an edge, beginning with bit `first`; all other bits become 0.
fn pack(classes: &[Class], first: usize, bits: &mut [u8]) {
    bits.fill(0);
    for (edge, _) in classes.iter().enumerate().filter(|(_, class)| **class != 0) {
        let bit = first + edge;
        bits[bit / 8] |= 1 << (bit % 8);
    }
}

/// The edges whose bits are set, below `edges`.
fn unpack(bits: &[u8], first: usize, edges: usize) -> impl Iterator<Item = usize> {
    let touched = bits.iter().enumerate().filter(|(_, byte)| **byte != 0);
    let set =
        touched.flat_map(|(at, byte)| (0..8).filter(move |bit| byte >> bit & 1 != 0).map(move |bit| at * 8 + bit));
    set.filter_map(move |bit| bit.checked_sub(first)).filter(move |edge| *edge < edges)
}

/// A bit says that an edge was hit, not how often: it counts as once.
fn merge(process: &mut Process, first: usize, bits: &[u8], edges: usize) {
    for edge in unpack(bits, first, edges) {
        process.view.mark(edge, 1);
    }
}

/// u32 now, u32 size, then that many bytes of bits.
const HEADER: usize = 8;

extern "C" fn serialize(size: *mut usize) -> *const u8 {
    let now = now() as u32;
    abi::swept(std::ptr::null(), |process| {
        let classes = process.view.classes();
        let mut bytes = vec![0; HEADER + bytes_for(MASTER, classes.len())];
        let (header, bits) = bytes.split_at_mut(HEADER);
        header[..4].copy_from_slice(&now.to_le_bytes());
        header[4..].copy_from_slice(&(bits.len() as u32).to_le_bytes());
        pack(classes, MASTER, bits);
        if !size.is_null() {
            // SAFETY: the caller gives a size_t to write, or null.
            unsafe { size.write(bytes.len()) };
        }
        process.memcov.serialized = bytes;
        process.memcov.serialized.as_ptr()
    })
}

extern "C" fn deserialize(bytes: *const u8, len: usize) {
    abi::swept((), |process| {
        let edges = process.view.classes().len();
        let room = bytes_for(MASTER, edges);
        let header = if bytes.is_null() || len < HEADER {
            None
        } else {
            // SAFETY: the caller's bytes are at least a header long.
            let header = unsafe { std::slice::from_raw_parts(bytes, HEADER) };
            Some(u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize)
        };
        match header {
            Some(size) if size == len - HEADER && size <= room => {
                // SAFETY: the caller gives `len` readable bytes, and `size` is `len` less the header.
                let bits = unsafe { std::slice::from_raw_parts(bytes.add(HEADER), size) };
                merge(process, MASTER, bits, edges);
            }
            Some(size) if size == len - HEADER => say::line(format_args!(
                "deserialize_mem_coverage: {size} bytes of coverage, but the libraries loaded here have {room}; load \
                 the same ones first, in the same order. Nothing is merged"
            )),
            said => say::line(format_args!(
                "deserialize_mem_coverage: {len} bytes are not what serialize_mem_coverage gave (size field: {}); \
                 nothing is merged",
                said.map_or_else(|| "none".to_owned(), |size| size.to_string())
            )),
        }
    });
}

/// Edges hit since the last reset, push or set; after `mcov_set_now`, that number and the edges that
/// are new since then.
#[unsafe(no_mangle)]
pub extern "C" fn mcov_get_now() -> usize {
    (calls().now)()
}

/// Edges known now; grows when a library is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn mcov_get_total() -> usize {
    (calls().total)(MASTER)
}

/// Overrides the number until the next set of the map, reset, push or pop.
#[unsafe(no_mangle)]
pub extern "C" fn mcov_set_now(now: usize) {
    (calls().set_now)(now);
}

/// Forgets all hits of this process.
#[unsafe(no_mangle)]
pub extern "C" fn mcov_reset() {
    (abi::table().reset)();
}

/// Puts the map aside and starts an empty one; nests without limit.
#[unsafe(no_mangle)]
pub extern "C" fn mcov_push_coverage() {
    (abi::table().push)();
}

/// Merges the map that was put aside last; does nothing when there is none, and says so once.
#[unsafe(no_mangle)]
pub extern "C" fn mcov_pop_coverage() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if (abi::table().pop)() == abi::E_EMPTY && !SAID.swap(true, Ordering::Relaxed) {
        let _ = std::panic::catch_unwind(|| {
            say::line(format_args!("mcov_pop_coverage without mcov_push_coverage: nothing is popped"));
        });
    }
}

/// Writes one bit an edge, edges counted from 1: (total / 8) + 1 bytes, for the total that
/// `mcov_get_total` gave last.
///
/// # Safety
/// `buffer` must be writable for that total, in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mcov_copy_hitmap(buffer: *mut u8) {
    (calls().copy)(MASTER, buffer);
}

/// Replaces the map by one that `mcov_copy_hitmap` wrote, and recomputes now.
///
/// # Safety
/// `buffer` must be readable for the total that `mcov_get_total` gave last, in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mcov_set_hitmap(buffer: *const u8) {
    (calls().set)(MASTER, buffer);
}

/// [`mcov_get_now`] by the `bitmap` branch's name.
#[unsafe(no_mangle)]
pub extern "C" fn mcov_get_hitbits() -> usize {
    (calls().now)()
}

/// [`mcov_set_now`] by the `bitmap` branch's name.
#[unsafe(no_mangle)]
pub extern "C" fn mcov_set_hitbits(hits: usize) {
    (calls().set_now)(hits);
}

/// [`mcov_reset`] by the `bitmap` branch's name.
#[unsafe(no_mangle)]
pub extern "C" fn mcov_reset_bitmap() {
    (abi::table().reset)();
}

/// Bytes of the bitmap: one bit an edge.
#[unsafe(no_mangle)]
pub extern "C" fn mcov_get_bitmap_bytes() -> usize {
    bytes_for(BITMAP, (calls().total)(BITMAP))
}

/// Writes one bit an edge, edges counted from 0: the bytes that `mcov_get_bitmap_bytes` gave last.
///
/// # Safety
/// `buffer` must be writable for that many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mcov_copy_bitmap(buffer: *mut u8) {
    (calls().copy)(BITMAP, buffer);
}

/// Replaces the map by one that `mcov_copy_bitmap` wrote, and recomputes the number of hits.
///
/// # Safety
/// `buffer` must be readable for the bytes that `mcov_get_bitmap_bytes` gave last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mcov_set_bitmap(buffer: *const u8) {
    (calls().set)(BITMAP, buffer);
}

/// The map as bytes, for another process: u32 now, u32 size, and that many bytes as
/// `mcov_copy_hitmap` writes them. Valid until the next call.
///
/// # Safety
/// `size` must be null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn serialize_mem_coverage(size: *mut usize) -> *const u8 {
    (calls().serialize)(size)
}

/// Merges what another process serialized; refuses, with a sentence, a size that does not fit.
///
/// # Safety
/// `bytes` must be readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn deserialize_mem_coverage(bytes: *const u8, len: usize) {
    (calls().deserialize)(bytes, len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(edges: usize, first: usize, hit: &[usize], expect: &[u8]) {
        let classes: Vec<u8> = (0..edges).map(|i| u8::from(hit.contains(&i))).collect();
        let mut bits = vec![0xFF; bytes_for(first, edges)];
        pack(&classes, first, &mut bits);
        assert_eq!(bits, expect);
        assert_eq!(unpack(&bits, first, edges).collect::<Vec<_>>(), hit);
    }

    #[test]
    fn bits_lie_least_significant_first_from_1_or_from_0() {
        check(3, MASTER, &[0, 2], &[0b1010]);
        check(3, BITMAP, &[0, 2], &[0b0101]);
        check(0, MASTER, &[], &[]);
    }

    #[test]
    fn the_last_edge_has_a_bit_when_the_total_is_a_multiple_of_eight() {
        check(8, MASTER, &[0, 7], &[0b10, 1]);
        check(8, BITMAP, &[0, 7], &[0b1000_0001]);
        check(7, MASTER, &[6], &[0b1000_0000]);
    }

    #[test]
    fn no_map_needs_more_bytes_than_edges() {
        assert!((0..1000).all(|edges| bytes_for(MASTER, edges) <= edges && bytes_for(BITMAP, edges) <= edges));
    }

    #[test]
    fn bits_outside_of_the_edges_are_ignored() {
        assert_eq!(unpack(&[0xFF, 0xFF], MASTER, 3).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
