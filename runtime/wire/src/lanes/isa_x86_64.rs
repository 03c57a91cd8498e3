//! Which lanes this x86-64 processor has.

use super::avx::Avx2;
use super::avx512::Avx512;
use super::blocks::{self, Blocks};
use super::words::Words;
use super::{Stretch, pass};
use crate::class::Class;

/// A kind of lanes that the processor has: who holds one may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Words,
    Avx2,
    Avx512,
}

impl Set {
    #[inline]
    fn is_here(self) -> bool {
        match self {
            Set::Words => true,
            Set::Avx2 => is_x86_feature_detected!("avx2") && bits(),
            // VBMI2 is not used: it tells the processors that do not clock down for wide registers.
            Set::Avx512 => {
                is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi2") && Set::Avx2.is_here()
            }
        }
    }
}

/// Whether lists of bits can be read without a branch for each.
#[inline]
fn bits() -> bool {
    is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("popcnt")
}

impl Isa {
    /// The fastest. The processor itself is asked once in the life of a process.
    #[inline]
    pub fn best() -> Isa {
        Isa([Set::Avx512, Set::Avx2].into_iter().find(|set| set.is_here()).unwrap_or(Set::Words))
    }

    /// Every one, to compare.
    #[cfg(test)]
    pub fn all() -> Vec<Isa> {
        [Set::Words, Set::Avx2, Set::Avx512].into_iter().filter(|set| set.is_here()).map(Isa).collect()
    }

    /// [`super::pass`] with these lanes.
    ///
    /// # Safety
    /// As for [`super::sweep`].
    #[inline]
    pub unsafe fn pass(self, stretch: Stretch, hit: impl FnMut(usize, u8)) {
        debug_assert!(self.0.is_here());
        // SAFETY: the caller's word for the stretch. The processor has the set: `best` and `all` alone
        // make an `Isa`, and they asked.
        unsafe {
            match self.0 {
                Set::Words => pass::<Words>(stretch, hit),
                // Wider registers were measured to be slower here: 21 against 19 microseconds at 1 Mi edges.
                Set::Avx2 | Set::Avx512 => avx2(stretch, hit),
            }
        }
    }

    /// [`blocks::pass`] with these lanes.
    ///
    /// # Safety
    /// As for [`super::sweep_blocks`].
    #[inline]
    pub unsafe fn pass_blocks(self, stretch: Stretch, base: u32, out: &mut Blocks) {
        debug_assert!(self.0.is_here());
        // SAFETY: as above.
        unsafe {
            match self.0 {
                Set::Words => blocks::pass::<Words>(stretch, base, out),
                Set::Avx2 => avx2_blocks(stretch, base, out),
                Set::Avx512 => avx512_blocks(stretch, base, out),
            }
        }
    }

    /// [`blocks::is_any_above`] with these lanes.
    #[inline]
    pub fn is_any_above(self, blocks: &Blocks, known: &[Class]) -> bool {
        debug_assert!(self.0.is_here());
        // SAFETY: as above.
        unsafe {
            match self.0 {
                Set::Words => blocks::is_any_above::<Words>(blocks, known),
                Set::Avx2 => avx2_above(blocks, known),
                Set::Avx512 => avx512_above(blocks, known),
            }
        }
    }
}

/// # Safety
/// As for [`super::sweep`].
#[target_feature(enable = "avx2,bmi1,popcnt")]
unsafe fn avx2(stretch: Stretch, hit: impl FnMut(usize, u8)) {
    // SAFETY: the caller's word.
    unsafe { pass::<Avx2>(stretch, hit) }
}

/// # Safety
/// As for [`super::sweep_blocks`].
#[target_feature(enable = "avx2,bmi1,popcnt")]
unsafe fn avx2_blocks(stretch: Stretch, base: u32, out: &mut Blocks) {
    // SAFETY: the caller's word.
    unsafe { blocks::pass::<Avx2>(stretch, base, out) }
}

#[target_feature(enable = "avx2,bmi1,popcnt")]
fn avx2_above(blocks: &Blocks, known: &[Class]) -> bool {
    // SAFETY: this function may only be called where the processor has the set.
    unsafe { blocks::is_any_above::<Avx2>(blocks, known) }
}

/// # Safety
/// As for [`super::sweep_blocks`].
#[target_feature(enable = "avx512bw,bmi1,popcnt")]
unsafe fn avx512_blocks(stretch: Stretch, base: u32, out: &mut Blocks) {
    // SAFETY: the caller's word.
    unsafe { blocks::pass::<Avx512>(stretch, base, out) }
}

#[target_feature(enable = "avx512bw,bmi1,popcnt")]
fn avx512_above(blocks: &Blocks, known: &[Class]) -> bool {
    // SAFETY: this function may only be called where the processor has the set.
    unsafe { blocks::is_any_above::<Avx512>(blocks, known) }
}
