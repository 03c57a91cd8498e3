//! One pass over a stretch of the planes: finds what was touched, and clears it.
//!
//! Works on blocks of 64 edges. Most blocks are zero and cost one test; of the others, most hold
//! nothing above what the caller's limits allow, and cost a few instructions more. The pass is
//! written once, over [`Lanes`], and compiled for every instruction set that [`Isa`] knows. Knows
//! nothing of libraries, hit classes or the history.

pub(crate) mod blocks;
mod words;

#[cfg(target_arch = "x86_64")]
mod avx;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg_attr(target_arch = "x86_64", path = "isa_x86_64.rs")]
#[cfg_attr(not(target_arch = "x86_64"), path = "isa_any.rs")]
mod isa;

pub(crate) use isa::Isa;

use blocks::Blocks;

/// Edges that are looked at together: a cache line of each plane.
pub const BLOCK: usize = 64;

/// What the planes hold of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Flags say what was hit, counters how often; a counter that reads 0 has wrapped.
    Both,
    /// Only counters: what was hit exactly 256 times is missed.
    Counters,
    /// Only flags: everything that was hit was hit once.
    Flags,
}

/// A stretch of the planes, from the same edge on in each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub counters: *mut u8,
    pub flags: *mut u8,
    /// The largest count of every edge that is not worth telling.
    pub limits: Option<*const u8>,
    /// Edges. The bytes behind them, up to a whole block, are read, but not changed or told.
    pub len: usize,
    pub how: How,
}

/// Clears the stretch, and calls `hit(i, count)`, in rising order, for every touched edge whose count
/// is above its limit. A count that wrapped is told as 255: its true value is larger.
///
/// # Safety
/// - The planes are readable, and counters and flags writable, for `len` bytes, rounded up to a
///   multiple of [`BLOCK`].
/// - `hit` changes no byte of the planes but the limit of an edge that it was told of.
#[inline]
pub(crate) unsafe fn sweep(isa: Isa, stretch: Stretch, hit: impl FnMut(usize, u8)) {
    debug_assert!(stretch.counters.addr().abs_diff(stretch.flags.addr()) >= stretch.len.next_multiple_of(BLOCK));
    // SAFETY: the caller's word.
    unsafe { isa.pass(stretch, hit) }
}

/// Clears the stretch, and adds every block of which an edge was touched to `out`; the first edge of
/// the stretch is `base`. Limits are not looked at.
///
/// # Safety
/// As for [`sweep`], as far as it speaks of planes.
#[inline]
pub(crate) unsafe fn sweep_blocks(isa: Isa, stretch: Stretch, base: u32, out: &mut Blocks) {
    debug_assert!(stretch.counters.addr().abs_diff(stretch.flags.addr()) >= stretch.len.next_multiple_of(BLOCK));
    // SAFETY: the caller's word.
    unsafe { isa.pass_blocks(stretch, base, out) }
}

/// 64 bytes, one for every edge of a block.
///
/// # Safety
/// Every function needs a processor that has the instruction set of the type; pointers must be
/// readable, or writable, for [`BLOCK`] bytes. No alignment is needed.
trait Lanes: Copy {
    unsafe fn load(at: *const u8) -> Self;
    unsafe fn store(self, at: *mut u8);
    /// Whether every byte is 0.
    unsafe fn is_zero(self) -> bool;
    /// 255 where a byte is not 0.
    unsafe fn touched(self) -> Self;
    /// Its bytes where they are larger, without sign, than `limits`; 0 elsewhere.
    unsafe fn above(self, limits: Self) -> Self;
    unsafe fn and(self, other: Self) -> Self;
    /// Its bits that are not in `other`.
    unsafe fn without(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    /// Counts as hit classes: [`crate::class::of_count`] of every byte.
    unsafe fn classes(self) -> Self;
    /// Asks for a block that is to be read soon. Any address will do.
    fn ask(at: *const u8);
    /// Lists which of a [`blocks::GROUP`] are not all zero, counted from `first`, and gives how many they
    /// are. All must be readable, and `list` have room for as many.
    unsafe fn list_touched(at: *const u8, first: u32, list: *mut u32) -> usize;
}

/// The pass. Always inlined, so that a function for one instruction set becomes a whole loop of it.
///
/// # Safety
/// As for [`sweep`] and [`Lanes`].
#[inline(always)]
unsafe fn pass<L: Lanes>(stretch: Stretch, hit: impl FnMut(usize, u8)) {
    // SAFETY: the caller's word. A loop for each, as the compiler sees what it does for one.
    unsafe {
        match stretch.how {
            How::Both => walk::<L>(Stretch { how: How::Both, ..stretch }, stretch.flags, hit),
            How::Counters => walk::<L>(Stretch { how: How::Counters, ..stretch }, stretch.counters, hit),
            How::Flags => walk::<L>(Stretch { how: How::Flags, ..stretch }, stretch.flags, hit),
        }
    }
}

/// # Safety
/// As for [`pass`]; `lead` is one of the planes.
#[inline(always)]
unsafe fn walk<L: Lanes>(stretch: Stretch, lead: *const u8, mut hit: impl FnMut(usize, u8)) {
    let Stretch { counters, flags, limits, len, how } = stretch;
    for first in (0..len).step_by(BLOCK) {
        // SAFETY: `first` is a multiple of BLOCK below `len`, so the block lies within the planes.
        let above = unsafe {
            if L::load(lead.add(first)).is_zero() {
                continue;
            }
            let counts = take::<L>(how, counters.add(first), flags.add(first), (len - first).min(BLOCK));
            match limits {
                Some(limits) => counts.above(L::load(limits.add(first))),
                None => counts,
            }
        };
        // SAFETY: the processor has the instructions, by the caller's word.
        if unsafe { above.is_zero() } {
            continue;
        }
        let mut bytes = [0; BLOCK];
        // SAFETY: the array holds a block.
        unsafe { above.store(bytes.as_mut_ptr()) };
        for (word, bytes) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let mut left = u64::from_le_bytes(*bytes);
            while left != 0 {
                let byte = left.trailing_zeros() as usize / 8;
                hit(first + word * 8 + byte, (left >> (8 * byte)) as u8);
                left &= !(0xFF << (8 * byte));
            }
        }
    }
}

/// Takes the counts of the first `inside` edges out of a block.
///
/// # Safety
/// As for [`pass`]; the pointers are to a block of each plane, of which only those that `how` speaks of
/// are looked at.
#[inline(always)]
unsafe fn take<L: Lanes>(how: How, counters: *mut u8, flags: *mut u8, inside: usize) -> L {
    // SAFETY: the caller's word.
    unsafe {
        match how {
            How::Both => take_both(counters, flags, inside),
            How::Counters => take_plane(counters, inside),
            How::Flags => take_flags(flags, inside),
        }
    }
}

/// Threads of the target may write at the same time. Bytes are plain data: a write that races with
/// the clear is seen now, in the next run, or lost with its block. Instrumented code counts first
/// and sets the flag second, so counters are cleared first: the other way round, a hit between the
/// two would leave a flag without a count, which reads as a counter that wrapped.
///
/// # Safety
/// As for [`take`].
#[inline(always)]
unsafe fn take_both<L: Lanes>(counters: *mut u8, flags: *mut u8, inside: usize) -> L {
    // SAFETY: the caller's word.
    unsafe {
        let ran = L::load(flags);
        let touched = ran.touched().and(only(inside));
        let counts = L::load(counters);
        counts.without(touched).store(counters);
        ran.without(touched).store(flags);
        let wrapped = touched.without(counts.touched());
        counts.and(touched).or(wrapped)
    }
}

/// # Safety
/// As for [`take`].
#[inline(always)]
unsafe fn take_plane<L: Lanes>(plane: *mut u8, inside: usize) -> L {
    // SAFETY: the caller's word.
    unsafe {
        let (bytes, ours) = (L::load(plane), only(inside));
        bytes.without(ours).store(plane);
        bytes.and(ours)
    }
}

/// # Safety
/// As for [`take`].
#[inline(always)]
unsafe fn take_flags<L: Lanes>(flags: *mut u8, inside: usize) -> L {
    const ONCE: [u8; BLOCK] = [1; BLOCK];
    // SAFETY: the caller's word; the array holds a block.
    unsafe { take_plane::<L>(flags, inside).touched().and(L::load(ONCE.as_ptr())) }
}

/// 255 for each of the first `edges` edges of a block.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
unsafe fn only<L: Lanes>(edges: usize) -> L {
    static MASKS: [[u8; BLOCK]; 2] = [[255; BLOCK], [0; BLOCK]];
    debug_assert!(edges <= BLOCK);
    // SAFETY: a block that starts up to BLOCK bytes into two blocks ends within them.
    unsafe { L::load(MASKS.as_ptr().cast::<u8>().add(BLOCK - edges)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Four blocks: more than a stretch of the tests.
    const PLANE: usize = 4 * BLOCK;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Seen {
        counters: Vec<u8>,
        flags: Vec<u8>,
        hits: Vec<(usize, u8)>,
    }

    /// The oracle: one edge after the other.
    fn naive(counters: &[u8], flags: &[u8], limits: Option<&[u8]>, len: usize, how: How) -> Seen {
        let mut seen = Seen { counters: counters.to_vec(), flags: flags.to_vec(), hits: Vec::new() };
        for i in 0..len {
            let count = match (how, flags[i], counters[i]) {
                (How::Both | How::Flags, 0, _) | (How::Counters, _, 0) => continue,
                (How::Flags, _, _) => 1,
                (How::Both, _, 0) => 255,
                (_, _, count) => count,
            };
            if how != How::Flags {
                seen.counters[i] = 0;
            }
            if how != How::Counters {
                seen.flags[i] = 0;
            }
            if limits.is_none_or(|limits| count > limits[i]) {
                seen.hits.push((i, count));
            }
        }
        seen
    }

    fn swept(isa: Isa, counters: &[u8], flags: &[u8], limits: Option<&[u8]>, len: usize, how: How) -> Seen {
        let mut seen = Seen { counters: counters.to_vec(), flags: flags.to_vec(), hits: Vec::new() };
        let stretch = Stretch {
            counters: seen.counters.as_mut_ptr(),
            flags: seen.flags.as_mut_ptr(),
            limits: limits.map(<[u8]>::as_ptr),
            len,
            how,
        };
        // SAFETY: all planes have PLANE bytes, and the tests' stretches are no longer.
        unsafe { sweep(isa, stretch, |i, count| seen.hits.push((i, count))) };
        seen
    }

    /// Mostly zero, then small, then anything: as in a map.
    fn plane() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![6 => Just(0), 3 => 1..4u8, 1 => any::<u8>()];
        let block = prop_oneof![Just(vec![0; BLOCK]), prop::collection::vec(byte, BLOCK)];
        prop::collection::vec(block, PLANE / BLOCK).prop_map(|blocks| blocks.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn every_isa_equals_one_edge_after_the_other(
            counters in plane(), flags in plane(), limits in prop::option::of(plane()), len in 0..=PLANE,
            how in prop::sample::select(vec![How::Both, How::Counters, How::Flags]),
        ) {
            let expect = naive(&counters, &flags, limits.as_deref(), len, how);
            for isa in Isa::all() {
                let seen = swept(isa, &counters, &flags, limits.as_deref(), len, how);
                prop_assert_eq!(&seen, &expect, "{:?}", isa);
            }
        }
    }

    fn swept_by_blocks(isa: Isa, counters: &[u8], flags: &[u8], len: usize, how: How, back: bool) -> Seen {
        let mut seen = Seen { counters: counters.to_vec(), flags: flags.to_vec(), hits: Vec::new() };
        let (counters, flags) = (seen.counters.as_mut_ptr(), seen.flags.as_mut_ptr());
        let mut told = Blocks::default();
        let stretch = Stretch { counters, flags, limits: None, len, how };
        // SAFETY: the planes have `len` bytes and more, up to a whole block.
        unsafe {
            if back {
                sweep_blocks(isa, Stretch { len: 0, ..stretch }, 0, &mut told);
            }
            sweep_blocks(isa, stretch, 0, &mut told);
        }
        for (first, classes) in told.iter() {
            assert_ne!(classes, &[0; BLOCK], "an untouched block is not told");
            let touched = classes.iter().enumerate().filter(|(_, class)| **class != 0);
            seen.hits.extend(touched.map(|(i, class)| (first as usize + i, *class)));
        }
        // Backwards is step by step, and the order is not promised.
        seen.hits.sort_unstable();
        seen
    }

    proptest! {
        #[test]
        fn blocks_tell_the_classes_of_one_edge_after_the_other(
            counters in plane(), flags in plane(), len in 0..=PLANE,
            how in prop::sample::select(vec![How::Both, How::Counters, How::Flags]), far: bool, back: bool,
        ) {
            // A stretch of more than one step, of which the planes fill the end.
            let space = vec![0; if far { blocks::STEP * BLOCK } else { 0 }];
            let (counters, flags) = ([&space[..], &counters].concat(), [&space[..], &flags].concat());
            let len = space.len() + len;
            let mut expect = naive(&counters, &flags, None, len, how);
            expect.hits.iter_mut().for_each(|(_, count)| *count = crate::class::of_count(*count));
            for isa in Isa::all() {
                prop_assert_eq!(&swept_by_blocks(isa, &counters, &flags, len, how, back), &expect, "{:?}", isa);
            }
        }
    }

    proptest! {
        #[test]
        fn every_isa_finds_what_is_above(
            classes in plane(), known in plane(), spare in 0..BLOCK, firsts in prop::collection::vec(0..=PLANE, 0..4),
        ) {
            let known = &known[..PLANE - spare];
            let mut blocks = Blocks::default();
            for (first, classes) in firsts.iter().zip(classes.as_chunks().0) {
                blocks.push(*first as u32, *classes);
            }
            let expect = blocks.iter().any(|(first, classes)| match known.get(first as usize..first as usize + BLOCK) {
                Some(known) => classes.iter().zip(known).any(|(class, known)| class > known),
                None => false,
            });
            for isa in Isa::all() {
                prop_assert_eq!(isa.is_any_above(&blocks, known), expect, "{:?}", isa);
            }
        }
    }

    #[test]
    fn every_count_has_its_class_in_a_block() {
        for isa in Isa::all() {
            for counts in (0..=255u8).collect::<Vec<_>>().chunks(BLOCK) {
                let seen = swept_by_blocks(isa, counts, &[0; BLOCK], BLOCK, How::Counters, false);
                let classes = counts.iter().map(|count| crate::class::of_count(*count)).enumerate();
                assert_eq!(seen.hits, classes.filter(|(_, class)| *class != 0).collect::<Vec<_>>(), "{isa:?}");
            }
        }
    }

    #[test]
    fn every_count_is_compared_with_every_limit() {
        for isa in Isa::all() {
            for limit in 0..=255u8 {
                for counts in (0..=255u8).collect::<Vec<_>>().chunks(BLOCK) {
                    let (flags, limits) = (vec![1; BLOCK], vec![limit; BLOCK]);
                    let seen = swept(isa, counts, &flags, Some(&limits), BLOCK, How::Both);
                    assert_eq!(seen, naive(counts, &flags, Some(&limits), BLOCK, How::Both), "{isa:?}, {limit}");
                }
            }
        }
    }
}
