//! The same memory for LibAFL's own observers.
//!
//! What they cost grows with the map, and flags say nothing to them: a library must bring counters or
//! guards. They are here for those who have a fuzzer that works, and for comparison.

use libafl::observers::StdMapObserver;

use super::{LiveMap, MapError};
use hitmap_wire::PAGE;

impl LiveMap {
    /// LibAFL's own observer over the counters of every library that is loaded now, to be wrapped in
    /// `HitcountsMapObserver`. Index 0 is the region's edge 4096. Libraries that come later are not
    /// seen. Afterwards the map has its reader: no [`super::EdgeObserver`] can be had.
    ///
    /// # Errors
    /// [`MapError::Taken`].
    ///
    /// # Safety
    /// The target must stand still whenever the observer is used, as with any of LibAFL's: the slice
    /// behind it is plain memory. While it lives, no second one may be made.
    pub unsafe fn stock_observer(&self, name: &'static str) -> Result<StdMapObserver<'_, u8, false>, MapError> {
        // The reader's right is not given back: the observer has no place to keep it.
        std::mem::forget(self.reader()?);
        // SAFETY: the length is at least a page and at most the capacity, so the range lies in the
        // counters; the map is borrowed as long as the observer lives. The rest is the caller's word.
        unsafe {
            let counters = self.region().counters().add(PAGE);
            Ok(StdMapObserver::from_mut_ptr(name, counters, self.len() - PAGE))
        }
    }
}
