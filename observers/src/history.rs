//! What has been reached so far: one class byte an edge, in memory that only its maker can write.
//!
//! The engine owns a history; children map it read-only and use it as a filter, so that they report
//! only what is new. `F_SEAL_FUTURE_WRITE` makes sure that a child that has gone mad cannot forge it.
//! Two planes are kept: the **truth**, which feedback judges by and snapshots are made of, and the
//! **filter** that children see. They differ only in edges that were reported again and again but
//! never came back when the input was run a second time; those are silenced in the filter.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hitmap_wire::class::Class;
use hitmap_wire::mapping::{self, Access, Mapping};

/// The largest hit class seen of every edge.
#[derive(Debug)]
pub struct History {
    fd: OwnedFd,
    filter: Mapping,
    truth: Mapping,
    capacity: u32,
    covered: u64,
}

impl History {
    /// An empty history for a region of `capacity` edges.
    ///
    /// # Errors
    /// What the system reports when it refuses the memory or the seal.
    pub fn new(capacity: u32) -> io::Result<History> {
        let len = capacity as usize;
        let fd = mapping::memory_file(c"hitmap-history", len)?;
        let filter = Mapping::of_file(fd.as_fd(), len, Access::Shared)?;
        mapping::seal_for_readers(fd.as_fd())?;
        Ok(History { fd, filter, truth: Mapping::anonymous(len)?, capacity, covered: 0 })
    }

    /// The memory file, to hand to a worker.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Edges that were reached.
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// The largest class seen of every edge of the region.
    #[inline]
    pub fn classes(&self) -> &[Class] {
        // SAFETY: the plane is that long, ours alone, and written through `&mut self` only.
        unsafe { std::slice::from_raw_parts(self.truth.base(), self.capacity as usize) }
    }

    /// The largest class seen of `edge`; 0 for an edge outside of the region.
    #[inline]
    pub fn class(&self, edge: u32) -> Class {
        self.classes().get(edge as usize).copied().unwrap_or(0)
    }

    /// Whether reaching `edge` with `class` would be new.
    #[inline]
    pub fn is_novel(&self, edge: u32, class: Class) -> bool {
        edge < self.capacity && class > self.class(edge)
    }

    /// Raises `edge` to at least `class`. Edges outside of the region are ignored.
    pub fn raise(&mut self, edge: u32, class: Class) {
        if !self.is_novel(edge, class) {
            return;
        }
        self.covered += u64::from(self.class(edge) == 0);
        // SAFETY: the edge lies within both planes, and children only read.
        unsafe { *self.truth.base().add(edge as usize) = class };
        self.silence(edge, class);
    }

    /// Keeps children from reporting `edge` up to `class`, although nothing is known to reach it.
    pub fn silence(&mut self, edge: u32, class: Class) {
        if edge >= self.capacity {
            return;
        }
        // SAFETY: the edge lies within the plane, and children only read.
        unsafe {
            let filter = self.filter.base().add(edge as usize);
            *filter = class.max(*filter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_counts_edges_once() {
        let mut history = History::new(8192).unwrap();
        history.raise(4096, 1);
        history.raise(4096, 8);
        history.raise(4096, 2);
        history.raise(99_999, 1);
        assert_eq!((history.covered(), history.class(4096), history.class(99_999)), (1, 8, 0));
    }

    #[test]
    fn silenced_edges_stay_new_to_the_truth() {
        let mut history = History::new(8192).unwrap();
        history.silence(5000, 4);
        assert!(history.is_novel(5000, 1));
        let seen = Mapping::of_file(history.fd(), 8192, Access::SharedReadOnly).unwrap();
        // SAFETY: the edge lies within the mapping.
        assert_eq!(unsafe { *seen.base().add(5000) }, 4);
    }

    #[test]
    fn nobody_else_can_write() {
        let history = History::new(8192).unwrap();
        assert!(Mapping::of_file(history.fd(), 8192, Access::Shared).is_err());
    }
}
