//! Where the time of a run goes, for those who ask. Those who do not ask pay nothing: [`Laps`] of `()`
//! are empty functions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hitmap_wire::batch::Header;

/// Is told when a part of a run is over.
pub trait Laps {
    /// A run begins.
    fn begin(&mut self) {}
    /// The harness came back.
    fn harness(&mut self) {}
    /// The map was read and cleared.
    fn map(&mut self) {}
}

impl Laps for () {}

/// Looks at the clock. What a look costs is as much as a small target takes, so it is measured first
/// and taken off. Sums are in the batch file after each part, because the next run may be the last.
pub struct Clock<'a> {
    header: &'a Header,
    last: Instant,
    /// What a look costs, in nanoseconds.
    look: u64,
}

impl Clock<'_> {
    /// A clock that writes to `header`.
    pub fn new(header: &Header) -> Clock<'_> {
        const LOOKS: u32 = 32;
        header.harness_nanos.store(0, Ordering::Relaxed);
        header.map_nanos.store(0, Ordering::Relaxed);
        let start = Instant::now();
        let last = (0..LOOKS).fold(start, |_, _| std::hint::black_box(Instant::now()));
        Clock { header, last, look: (last - start).as_nanos() as u64 / u64::from(LOOKS) }
    }

    fn lap(&mut self, sum: &AtomicU64) {
        let now = Instant::now();
        let took = ((now - self.last).as_nanos() as u64).saturating_sub(self.look);
        sum.store(sum.load(Ordering::Relaxed) + took, Ordering::Relaxed);
        self.last = now;
    }
}

impl Laps for Clock<'_> {
    fn begin(&mut self) {
        self.last = Instant::now();
    }

    fn harness(&mut self) {
        let header = self.header;
        self.lap(&header.harness_nanos);
    }

    fn map(&mut self) {
        let header = self.header;
        self.lap(&header.map_nanos);
    }
}
