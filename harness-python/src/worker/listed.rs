//! The files in this process, as the batch file lists them, so that addresses can be named after its death.

use std::sync::atomic::{AtomicU64, Ordering};

use hitmap_wire::batch::Batch;
use hitmap_wire::identity::{self, Loaded};

use super::origin;

/// What the loader had loaded when the list was written.
static LOADS: AtomicU64 = AtomicU64::new(u64::MAX);

/// The list as it was written last.
#[derive(Default)]
pub struct Listed(Vec<Loaded>);

impl Listed {
    /// Writes it as it was: in the server, because a child may have done anything to it. Looks anew when more was
    /// loaded.
    pub fn write(&mut self, batch: &Batch) {
        self.look();
        batch.write_objects(&self.0);
    }

    /// Writes it when more was loaded.
    pub fn catch_up(&mut self, batch: &Batch) {
        if self.look() {
            batch.write_objects(&self.0);
        }
    }

    /// Whether there was something new.
    fn look(&mut self) -> bool {
        let loads = identity::loads_so_far();
        if LOADS.swap(loads, Ordering::Relaxed) == loads {
            return false;
        }
        self.0 = identity::all_loaded();
        origin::look_at(&self.0);
        true
    }

    /// The files.
    pub fn objects(&self) -> &[Loaded] {
        &self.0
    }
}

/// Adds what was loaded since: in a process that ends, where nothing can be allocated any more.
pub fn add_late(batch: &Batch) {
    let loads = identity::loads_so_far();
    if LOADS.swap(loads, Ordering::Relaxed) != loads {
        batch.add_objects();
    }
}
