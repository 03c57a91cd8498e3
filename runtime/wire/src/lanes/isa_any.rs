//! Plain words are the only lanes here, for now.

use super::words::Words;
use super::{BLOCK, Stretch, pass, pass_blocks};
use crate::class::Class;

/// A kind of lanes that the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa;

impl Isa {
    /// The fastest.
    #[inline]
    pub fn best() -> Isa {
        Isa
    }

    /// Every one, to compare.
    #[cfg(test)]
    pub fn all() -> Vec<Isa> {
        vec![Isa]
    }

    /// [`super::pass`] with these lanes.
    ///
    /// # Safety
    /// As for [`super::sweep`].
    #[inline]
    pub unsafe fn pass(self, stretch: Stretch, hit: impl FnMut(usize, u8)) {
        // SAFETY: the caller's word.
        unsafe { pass::<Words>(stretch, hit) }
    }

    /// [`super::pass_blocks`] with these lanes.
    ///
    /// # Safety
    /// As for [`super::sweep_blocks`].
    #[inline]
    pub unsafe fn pass_blocks(self, stretch: Stretch, block: impl FnMut(usize, &[Class; BLOCK])) {
        // SAFETY: the caller's word.
        unsafe { pass_blocks::<Words>(stretch, block) }
    }
}
