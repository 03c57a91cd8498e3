//! Plain words are the only lanes here, for now.

use super::blocks::{self, Blocks};
use super::words::Words;
use super::{Stretch, pass};
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

    /// [`blocks::pass`] with these lanes.
    ///
    /// # Safety
    /// As for [`super::sweep_blocks`].
    #[inline]
    pub unsafe fn pass_blocks(self, stretch: Stretch, base: u32, out: &mut Blocks) {
        // SAFETY: the caller's word.
        unsafe { blocks::pass::<Words>(stretch, base, out) }
    }

    /// [`blocks::is_any_above`] with these lanes.
    #[inline]
    pub fn is_any_above(self, blocks: &Blocks, known: &[Class]) -> bool {
        // SAFETY: words need nothing of the processor.
        unsafe { blocks::is_any_above::<Words>(blocks, known) }
    }
}
