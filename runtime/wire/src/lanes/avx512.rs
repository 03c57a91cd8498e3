//! Lanes for x86-64 with AVX-512: one register.

// Every `unsafe` block here: SAFETY: the processor has AVX-512 with byte instructions and pointers are
// good for 64 bytes, by the caller's word; loads and stores are the unaligned ones.
#![allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all, above")]

use std::arch::x86_64::*;

use super::avx::{HIGH, LOW};
use super::blocks::GROUP;
use super::{BLOCK, Lanes};

#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512i);

impl Lanes for Avx512 {
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Avx512 {
        unsafe { Avx512(_mm512_loadu_si512(at.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        unsafe { _mm512_storeu_si512(at.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        unsafe { _mm512_test_epi32_mask(self.0, self.0) == 0 }
    }

    #[inline(always)]
    unsafe fn touched(self) -> Avx512 {
        unsafe { Avx512(_mm512_movm_epi8(_mm512_test_epi8_mask(self.0, self.0))) }
    }

    #[inline(always)]
    unsafe fn above(self, limits: Avx512) -> Avx512 {
        unsafe { Avx512(_mm512_maskz_mov_epi8(_mm512_cmpgt_epu8_mask(self.0, limits.0), self.0)) }
    }

    #[inline(always)]
    unsafe fn and(self, other: Avx512) -> Avx512 {
        unsafe { Avx512(_mm512_and_si512(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn without(self, other: Avx512) -> Avx512 {
        unsafe { Avx512(_mm512_andnot_si512(other.0, self.0)) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Avx512) -> Avx512 {
        unsafe { Avx512(_mm512_or_si512(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn classes(self) -> Avx512 {
        unsafe {
            let low = _mm512_broadcast_i32x4(_mm_loadu_si128(LOW.as_ptr().cast()));
            let high = _mm512_broadcast_i32x4(_mm_loadu_si128(HIGH.as_ptr().cast()));
            let nibble = _mm512_set1_epi8(15);
            let units = _mm512_shuffle_epi8(low, _mm512_and_si512(self.0, nibble));
            let sixteens = _mm512_and_si512(_mm512_srli_epi16::<4>(self.0), nibble);
            Avx512(_mm512_max_epu8(units, _mm512_shuffle_epi8(high, sixteens)))
        }
    }

    #[inline(always)]
    fn ask(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn list_touched(at: *const u8, first: u32, list: *mut u32) -> usize {
        const PLACES: [u32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let (mut all, mut i) = (0, 0);
        unsafe {
            let mut places =
                _mm512_add_epi32(_mm512_loadu_si512(PLACES.as_ptr().cast()), _mm512_set1_epi32(first as i32));
            while i < GROUP {
                let low = touched_of_eight(at.add(i * BLOCK));
                let touched = low | touched_of_eight(at.add((i + 8) * BLOCK)) << 8;
                // Sixteen are written, of which those behind the touched ones mean nothing.
                let listed = _mm512_maskz_compress_epi32(touched as u16, places);
                _mm512_storeu_si512(list.add(all).cast(), listed);
                all += touched.count_ones() as usize;
                places = _mm512_add_epi32(places, _mm512_set1_epi32(16));
                i += 16;
            }
        }
        all
    }
}

/// A bit for each of eight blocks that is not all zero. Packing makes half as many bytes of two
/// registers, with saturation, so that what is not zero stays so.
///
/// # Safety
/// All eight must be readable; else as for [`Lanes`].
#[inline(always)]
unsafe fn touched_of_eight(at: *const u8) -> u32 {
    unsafe {
        // Each quarter of the register has a word for each block.
        let all = _mm512_packs_epi16(four(at), four(at.add(4 * BLOCK)));
        let words = _mm512_test_epi16_mask(all, all);
        let words = words | (words >> 16);
        (words | (words >> 8)) & 0xFF
    }
}

/// # Safety
/// As for [`touched_of_eight`], for the blocks that it is named for. No closure: that would not be
/// compiled for the instruction set of its caller.
#[inline(always)]
unsafe fn four(at: *const u8) -> __m512i {
    unsafe { _mm512_packs_epi16(two(at), two(at.add(2 * BLOCK))) }
}

/// # Safety
/// As above.
#[inline(always)]
unsafe fn two(at: *const u8) -> __m512i {
    unsafe { _mm512_packs_epi16(Avx512::load(at).0, Avx512::load(at.add(BLOCK)).0) }
}
