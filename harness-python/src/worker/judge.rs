//! What a run touched: brought into the map, compared with the history, cleared.
//!
//! Owns the plan by which the map is read, and keeps it up to date as libraries are loaded. What is
//! new is decided by [`Novelty`].

use hitmap_wire::mapping::Mapping;
use hitmap_wire::modules;
use hitmap_wire::novelty::{News, Novelty};
use hitmap_wire::region::Region;
use hitmap_wire::sweep::{self, Plan};

use super::threads::Threads;
use crate::runtime;

/// Reads the map for one child.
pub struct Judge {
    region: Region,
    novelty: Novelty,
    plan: Plan,
    known_modules: usize,
    in_place: bool,
    threads: Threads,
}

impl Judge {
    /// A judge for children to come, over `region` and `history`, which has at least a byte an edge.
    ///
    /// # Errors
    /// When the system refuses memory.
    pub fn new(region: Region, history: Mapping) -> std::io::Result<Judge> {
        let novelty = Novelty::new(history, region.layout().capacity)?;
        let (plan, threads) = (Plan::default(), Threads::new());
        Ok(Judge { region, novelty, plan, known_modules: 0, in_place: false, threads })
    }

    /// In a child that was just forked: looks at what is in the map now.
    pub fn begin(&mut self) {
        self.plan_anew();
    }

    /// Reads and clears the map; gives what is new.
    #[inline]
    pub fn judge(&mut self) -> Option<News> {
        self.catch_up();
        self.novelty.judge(&self.plan, &self.region)
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
        if self.plan.has_journal() && self.threads.count_meanwhile() {
            self.region.distrust_journal();
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
