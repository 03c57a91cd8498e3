//! AFL's map, filled from hitmap's.
//!
//! AFL's map is one byte an edge, as dense as can be, because the fuzzer reads all of it after every
//! run. So libraries follow each other without the gaps that they have in the region, from place 1 on;
//! place 0 is set by every run, as AFL's own runtime does it, and says that there was one. No place is
//! shared and no number wraps: what has no place is not counted, and that is said.

use hitmap_wire::PAGE;
use hitmap_wire::class;
use hitmap_wire::modules::{self, Module};
use hitmap_wire::region::Region;
use hitmap_wire::sweep::{self, Plan};

use super::segment::Segment;
use crate::runtime;
use crate::worker::threads::Threads;

/// The way from the region to AFL's map.
pub struct AflMap {
    region: Region,
    segment: Segment,
    /// Places that the fuzzer was told of; 0 until then.
    told: usize,
    known_modules: usize,
    in_place: bool,
    plan: Plan,
    places: Places,
    threads: Threads,
}

/// Which place in AFL's map each edge has.
#[derive(Default)]
struct Places {
    /// For each page of the region, what its edges' numbers exceed their places by.
    excess: Vec<u32>,
    /// How many there are.
    count: usize,
}

impl Places {
    fn of(all: &[Module], capacity: u32) -> Places {
        let mut excess = vec![0; capacity as usize / PAGE];
        let mut next = 1;
        for module in all.iter().filter(|m| !m.is_refused() && m.base.is_multiple_of(PAGE as u32)) {
            let range = module.base.min(capacity)..module.range().end.min(capacity);
            let pages = range.start as usize / PAGE..(range.end as usize).div_ceil(PAGE);
            // Page 0 of a region is nobody's, so a range begins far behind its place.
            excess[pages].fill(range.start - next);
            next += range.end - range.start;
        }
        Places { excess, count: next as usize }
    }
}

impl AflMap {
    /// Fills `segment` from `region`.
    pub fn new(region: Region, segment: Segment) -> AflMap {
        let mut map = AflMap {
            region,
            segment,
            told: 0,
            known_modules: 0,
            in_place: false,
            plan: Plan::default(),
            places: Places::default(),
            threads: Threads::new(),
        };
        map.catch_up();
        map
    }

    /// How many bytes the map has, for the fuzzer to hear. What is loaded from now on has no place.
    pub fn tell_size(&mut self) -> usize {
        self.catch_up();
        self.told = self.places.count;
        self.told
    }

    /// How many bytes the fuzzer was told of.
    pub fn told(&self) -> usize {
        self.told
    }

    /// How many bytes the fuzzer's segment has.
    pub fn room(&self) -> usize {
        self.segment.len()
    }

    /// Libraries that were loaded since the last call and have edges without a place.
    pub fn late(&mut self) -> Vec<Module> {
        let before = self.known_modules;
        if self.told == 0 || self.region.module_count() == before {
            return Vec::new();
        }
        self.catch_up();
        modules::all(&self.region).into_iter().skip(before).filter(|module| module.edges > 0).collect()
    }

    /// Clears hitmap's map.
    pub fn discard(&mut self) {
        self.bring();
        self.plan.drain(&self.region, |_, _| {});
    }

    /// Notes that a child is gone: it may have ended between a count and the journal's entry of it.
    pub fn child_ended(&self) {
        self.region.distrust_journal();
    }

    /// Reads and clears hitmap's map, and sets AFL's. The fuzzer cleared that one before the run.
    #[inline]
    pub fn take(&mut self) {
        self.bring();
        let AflMap { region, segment, told, plan, places, .. } = self;
        segment.put(0, 1);
        plan.drain(region, |edge, class| {
            let place = (edge - places.excess[edge as usize / PAGE]) as usize;
            if place < *told {
                // AFL makes classes of counts by itself: any count of the class will do.
                segment.put(place, class::largest_count(class));
            }
        });
    }

    fn bring(&mut self) {
        self.catch_up();
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

    fn catch_up(&mut self) {
        if self.region.module_count() == self.known_modules {
            return;
        }
        self.known_modules = self.region.module_count();
        let all = modules::all(&self.region);
        let capacity = self.region.layout().capacity;
        self.plan = Plan::of(&all, capacity);
        self.in_place = sweep::has_in_place(&all);
        self.places = Places::of(&all, capacity);
    }
}
