//! Lanes for every processor: eight words of eight bytes, with the usual tricks to compute on the
//! bytes of a word (Hacker's Delight, chapter 6-1: "Find First 0-Byte").

use super::Lanes;
use super::blocks::{GROUP, touched_blocks, write_down};
use crate::class;

const HIGH: u64 = 0x80 * (u64::MAX / 255);

#[derive(Clone, Copy)]
pub(super) struct Words([u64; 8]);

impl Words {
    #[inline(always)]
    fn zip(self, other: Words, f: impl Fn(u64, u64) -> u64) -> Words {
        Words(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

/// Bytes of 255 where `high` has a byte's high bit; no other bit may be set.
#[inline(always)]
fn filled(high: u64) -> u64 {
    (high >> 7) * 255
}

// SAFETY: no instruction is needed that the compiler may not use anyway; a pointer is read and
// written for 64 bytes, unaligned.
impl Lanes for Words {
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Words {
        // SAFETY: the caller's word.
        Words(unsafe { at.cast::<[u64; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: the caller's word.
        unsafe { at.cast::<[u64; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        self.0.iter().fold(0, |any, word| any | word) == 0
    }

    #[inline(always)]
    unsafe fn touched(self) -> Words {
        Words(self.0.map(|word| filled((((word & !HIGH) + !HIGH) | word) & HIGH)))
    }

    #[inline(always)]
    unsafe fn above(self, limits: Words) -> Words {
        self.zip(limits, |count, limit| {
            // The high bit of each byte: whether the limit's low seven bits reach the count's.
            let low_reach = (limit | HIGH) - (count & !HIGH);
            let reach = ((limit & !count) | (!(limit ^ count) & low_reach)) & HIGH;
            count & filled(reach ^ HIGH)
        })
    }

    #[inline(always)]
    unsafe fn and(self, other: Words) -> Words {
        self.zip(other, |a, b| a & b)
    }

    #[inline(always)]
    unsafe fn without(self, other: Words) -> Words {
        self.zip(other, |a, b| a & !b)
    }

    #[inline(always)]
    unsafe fn or(self, other: Words) -> Words {
        self.zip(other, |a, b| a | b)
    }

    #[inline(always)]
    unsafe fn classes(self) -> Words {
        Words(self.0.map(|word| u64::from_ne_bytes(word.to_ne_bytes().map(class::of_count))))
    }

    #[inline(always)]
    fn ask(_at: *const u8) {}

    #[inline(always)]
    unsafe fn list_touched(at: *const u8, first: u32, list: *mut u32) -> usize {
        // SAFETY: the caller's word.
        unsafe { write_down(touched_blocks::<Words>(at, GROUP), first, list) }
    }
}
