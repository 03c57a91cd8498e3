//! Lanes for x86-64 with AVX2: two registers.

// Every `unsafe` block here: SAFETY: the processor has AVX2 and pointers are good for 64 bytes, by the
// caller's word; loads and stores are the unaligned ones.
#![allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all, above")]

use std::arch::x86_64::*;

use super::blocks::{GROUP, write_down};
use super::{BLOCK, Lanes};
use crate::class::OF_COUNT;

#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256i, __m256i);

impl Avx2 {
    #[inline(always)]
    fn zip(self, other: Avx2, f: impl Fn(__m256i, __m256i) -> __m256i) -> Avx2 {
        Avx2(f(self.0, other.0), f(self.1, other.1))
    }
}

/// A class is the larger of what the low four bits of a count mean alone,
pub(super) const LOW: [u8; 16] = classes_of_multiples(1);
/// and of what the high four do.
pub(super) const HIGH: [u8; 16] = classes_of_multiples(16);

/// The classes of 0, `step`, 2 `step`, … 15 `step` hits.
const fn classes_of_multiples(step: usize) -> [u8; 16] {
    let (mut classes, mut i) = ([0; 16], 0);
    while i < 16 {
        classes[i] = OF_COUNT[i * step];
        i += 1;
    }
    classes
}

impl Lanes for Avx2 {
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Avx2 {
        unsafe { Avx2(_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        unsafe {
            _mm256_storeu_si256(at.cast(), self.0);
            _mm256_storeu_si256(at.add(32).cast(), self.1);
        }
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        unsafe {
            let any = _mm256_or_si256(self.0, self.1);
            _mm256_testz_si256(any, any) == 1
        }
    }

    #[inline(always)]
    unsafe fn touched(self) -> Avx2 {
        unsafe {
            let (zero, ones) = (_mm256_setzero_si256(), _mm256_set1_epi8(-1));
            self.zip(self, |a, _| _mm256_xor_si256(_mm256_cmpeq_epi8(a, zero), ones))
        }
    }

    #[inline(always)]
    unsafe fn above(self, limits: Avx2) -> Avx2 {
        // AVX2 compares bytes with sign only; the larger of two is the limit where it is reached.
        self.zip(limits, |a, b| unsafe { _mm256_andnot_si256(_mm256_cmpeq_epi8(_mm256_max_epu8(a, b), b), a) })
    }

    #[inline(always)]
    unsafe fn and(self, other: Avx2) -> Avx2 {
        self.zip(other, |a, b| unsafe { _mm256_and_si256(a, b) })
    }

    #[inline(always)]
    unsafe fn without(self, other: Avx2) -> Avx2 {
        self.zip(other, |a, b| unsafe { _mm256_andnot_si256(b, a) })
    }

    #[inline(always)]
    unsafe fn or(self, other: Avx2) -> Avx2 {
        self.zip(other, |a, b| unsafe { _mm256_or_si256(a, b) })
    }

    #[inline(always)]
    unsafe fn classes(self) -> Avx2 {
        unsafe {
            let (low, high) = (_mm_loadu_si128(LOW.as_ptr().cast()), _mm_loadu_si128(HIGH.as_ptr().cast()));
            let (low, high) = (_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high));
            let nibble = _mm256_set1_epi8(15);
            self.zip(self, |counts, _| {
                let units = _mm256_shuffle_epi8(low, _mm256_and_si256(counts, nibble));
                let sixteens = _mm256_and_si256(_mm256_srli_epi16::<4>(counts), nibble);
                _mm256_max_epu8(units, _mm256_shuffle_epi8(high, sixteens))
            })
        }
    }

    #[inline(always)]
    fn ask(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn list_touched(at: *const u8, first: u32, list: *mut u32) -> usize {
        let (mut bits, mut i) = (0, 0);
        while i < GROUP {
            bits |= unsafe { touched_of_eight(at.add(i * BLOCK)) } << i;
            i += 8;
        }
        unsafe { write_down(bits, first, list) }
    }
}

/// A bit for each of eight blocks that is not all zero. Packing makes half as many bytes of two
/// registers, with saturation, so that what is not zero stays so.
///
/// # Safety
/// All eight must be readable; else as for [`Lanes`].
#[inline(always)]
unsafe fn touched_of_eight(at: *const u8) -> u64 {
    unsafe {
        // Each half of the register has a word for each block.
        let all = _mm256_packs_epi16(four(at), four(at.add(4 * BLOCK)));
        let untouched = _mm256_cmpeq_epi16(all, _mm256_setzero_si256());
        let both = _mm_and_si128(_mm256_castsi256_si128(untouched), _mm256_extracti128_si256::<1>(untouched));
        u64::from(!_mm_movemask_epi8(_mm_packs_epi16(both, both)) as u8)
    }
}

/// # Safety
/// As for [`touched_of_eight`], for the blocks that it is named for. No closure: that would not be
/// compiled for the instruction set of its caller.
#[inline(always)]
unsafe fn four(at: *const u8) -> __m256i {
    unsafe { _mm256_packs_epi16(two(at), two(at.add(2 * BLOCK))) }
}

/// # Safety
/// As above.
#[inline(always)]
unsafe fn two(at: *const u8) -> __m256i {
    unsafe { _mm256_packs_epi16(one(at), one(at.add(BLOCK))) }
}

/// # Safety
/// As above.
#[inline(always)]
unsafe fn one(at: *const u8) -> __m256i {
    unsafe {
        let Avx2(low, high) = Avx2::load(at);
        _mm256_or_si256(low, high)
    }
}
