//! Which lanes this x86-64 processor has.

use super::avx::Avx2;
use super::words::Words;
use super::{BLOCK, Stretch, pass, pass_blocks};
use crate::class::Class;

/// A kind of lanes that the processor has: who holds one may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Words,
    Avx2,
}

impl Set {
    #[inline]
    fn is_here(self) -> bool {
        match self {
            Set::Words => true,
            Set::Avx2 => is_x86_feature_detected!("avx2"),
        }
    }
}

impl Isa {
    /// The fastest. The processor itself is asked once in the life of a process.
    #[inline]
    pub fn best() -> Isa {
        Isa(if Set::Avx2.is_here() { Set::Avx2 } else { Set::Words })
    }

    /// Every one, to compare.
    #[cfg(test)]
    pub fn all() -> Vec<Isa> {
        [Set::Words, Set::Avx2].into_iter().filter(|set| set.is_here()).map(Isa).collect()
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
                Set::Avx2 => avx2(stretch, hit),
            }
        }
    }

    /// [`super::pass_blocks`] with these lanes.
    ///
    /// # Safety
    /// As for [`super::sweep_blocks`].
    #[inline]
    pub unsafe fn pass_blocks(self, stretch: Stretch, block: impl FnMut(usize, &[Class; BLOCK])) {
        debug_assert!(self.0.is_here());
        // SAFETY: as above.
        unsafe {
            match self.0 {
                Set::Words => pass_blocks::<Words>(stretch, block),
                Set::Avx2 => avx2_blocks(stretch, block),
            }
        }
    }
}

/// # Safety
/// As for [`super::sweep_blocks`].
#[target_feature(enable = "avx2")]
unsafe fn avx2_blocks(stretch: Stretch, block: impl FnMut(usize, &[Class; BLOCK])) {
    // SAFETY: the caller's word.
    unsafe { pass_blocks::<Avx2>(stretch, block) }
}

/// # Safety
/// As for [`super::sweep`].
#[target_feature(enable = "avx2")]
unsafe fn avx2(stretch: Stretch, hit: impl FnMut(usize, u8)) {
    // SAFETY: the caller's word.
    unsafe { pass::<Avx2>(stretch, hit) }
}
