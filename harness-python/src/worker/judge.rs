//! Whether a run touched something that the history lacks.
//!
//! Reads and clears the map after every run. Owns the overlay: what this batch has reported already,
//! so that a hundred inputs that reach the same new edge are reported once. Allocates nothing
//! between inputs, unless a library was loaded.

use std::sync::atomic::{AtomicU8, Ordering};

use hitmap_wire::class::Class;
use hitmap_wire::mapping::Mapping;
use hitmap_wire::modules;
use hitmap_wire::region::Region;
use hitmap_wire::sweep::{self, Plan};

use crate::runtime;

/// Overlay entries that are remembered one by one; with more the whole overlay is dropped.
const LISTED: usize = 1 << 16;

/// Reads the map for one child.
pub struct Judge {
    region: Region,
    history: Mapping,
    overlay: Mapping,
    /// Edges that are set in the overlay.
    listed: Vec<u32>,
    plan: Plan,
    known_modules: usize,
    in_place: bool,
}

impl Judge {
    /// A judge over `region` and `history`, which has at least a byte an edge.
    ///
    /// # Errors
    /// When the system refuses the overlay's memory.
    pub fn new(region: Region, history: Mapping) -> std::io::Result<Judge> {
        let capacity = region.layout().capacity as usize;
        assert!(history.len() >= capacity, "the history was checked when it was opened");
        let overlay = Mapping::anonymous(capacity)?;
        let listed = Vec::with_capacity(LISTED);
        let mut judge =
            Judge { region, history, overlay, listed, plan: Plan::default(), known_modules: 0, in_place: false };
        judge.plan_anew();
        Ok(judge)
    }

    /// Forgets what this batch reported.
    pub fn begin_batch(&mut self) {
        if self.listed.len() < LISTED {
            for edge in self.listed.drain(..) {
                // SAFETY: only edges below the capacity are listed.
                unsafe { *self.overlay.base().add(edge as usize) = 0 };
            }
        } else {
            self.listed.clear();
            // SAFETY: the range is the overlay's own private, anonymous memory: dropped pages read
            // as zero again.
            unsafe { libc::madvise(self.overlay.base().cast(), self.overlay.len(), libc::MADV_DONTNEED) };
        }
    }

    /// Reads and clears the map; gives the first edge that is new, with its class.
    #[inline]
    pub fn judge(&mut self) -> Option<(u32, Class)> {
        self.catch_up();
        let (history, overlay, listed) = (self.history.base(), self.overlay.base(), &mut self.listed);
        let mut first = None;
        self.plan.drain(&self.region, |edge, class| {
            // SAFETY: a plan's edges lie below the region's capacity, and both maps are that long.
            // The history is written by the engine, so it is read as an atomic.
            let (known, reported) = unsafe {
                ((*history.add(edge as usize).cast::<AtomicU8>()).load(Ordering::Relaxed), overlay.add(edge as usize))
            };
            // SAFETY: the overlay is ours alone.
            unsafe {
                if class <= known || class <= *reported {
                    return;
                }
                if *reported == 0 && listed.len() < LISTED {
                    listed.push(edge);
                }
                *reported = class;
            }
            first.get_or_insert((edge, class));
        });
        first
    }

    /// Clears the map.
    pub fn discard(&mut self) {
        self.catch_up();
        self.plan.drain(&self.region, |_, _| {});
    }

    /// Brings counters that live outside the map into it, and leaves all in the map.
    pub fn gather(&mut self) {
        self.catch_up();
    }

    #[inline]
    fn catch_up(&mut self) {
        if self.region.module_count() != self.known_modules {
            self.plan_anew();
        }
        if self.in_place
            && let Some(runtime) = runtime::present()
        {
            // SAFETY: the ABI may be called at any time.
            unsafe { (runtime.gather)() };
        }
    }

    #[cold]
    fn plan_anew(&mut self) {
        self.known_modules = self.region.module_count();
        let all = modules::all(&self.region);
        self.plan = Plan::of(&all, self.region.layout().capacity);
        self.in_place = sweep::has_in_place(&all);
    }
}
