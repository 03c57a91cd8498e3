//! This process's view: which edges it has seen hit, and how often.
//!
//! Sticky: an edge stays hit until reset, push or restore, whatever happens to the counters. Every
//! reading function first sweeps: it takes what was counted since the last sweep into the view.
//!
//! In a private region the sweep clears what it reads. A region that another process can read (an
//! engine's, or one named in the environment) is never cleared from here, since the coverage of a
//! run belongs to its reader. There the sweep remembers the counters it saw and takes those that
//! differ. The limits of that: after a reset, an edge is not seen again when its counter stands where it
//! stood (a guard at 255, exactly 256 more hits of an inline counter, any flag without a counter,
//! or the same number of hits again after an engine cleared it); and what another process counts in
//! the same region meanwhile is seen as ours.

use std::sync::atomic::Ordering;

use hitmap_wire::class::{self, Class};
use hitmap_wire::modules::{COUNTERS, GUARDS};

use crate::inline::each_touched;
use crate::process::{Live, Process};
use crate::register::Part;

/// Classes of every edge, dense.
pub struct View {
    current: Vec<Class>,
    aside: Vec<Vec<Class>>,
    hits: u64,
    turn: u64,
}

impl View {
    /// A view of no edges.
    pub const fn new() -> View {
        View { current: Vec::new(), aside: Vec::new(), hits: 0, turn: 0 }
    }

    /// Adds edges, not hit; returns the number of the first.
    pub fn grow(&mut self, edges: usize) -> usize {
        let first = self.current.len();
        self.current.resize(first + edges, 0);
        first
    }

    /// The classes of all edges.
    pub fn classes(&self) -> &[Class] {
        &self.current
    }

    /// How many edges are hit.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Changes when the view is replaced: by clear, push and pop.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// Raises an edge to `class`; numbers past the end are ignored.
    pub fn mark(&mut self, edge: usize, class: Class) {
        if let Some(old) = self.current.get_mut(edge) {
            self.hits += u64::from(*old == 0 && class != 0);
            *old = (*old).max(class);
        }
    }

    /// The largest class of an edge in this view and in those put aside.
    pub fn ever(&self, edge: usize) -> Class {
        let aside = self.aside.iter().filter_map(|old| old.get(edge));
        aside.chain(self.current.get(edge)).copied().max().unwrap_or(0)
    }

    /// Forgets all hits.
    pub fn clear(&mut self) {
        self.current.fill(0);
        self.hits = 0;
        self.turn += 1;
    }

    /// An empty view of the same edges, with nothing put aside. The memory is fresh, so a forked child
    /// copies no page of its parent's.
    pub fn start_anew(&mut self) {
        *self = View { current: vec![0; self.current.len()], turn: self.turn + 1, ..View::new() };
    }

    /// Puts the view aside and starts an empty one.
    pub fn push(&mut self) {
        let empty = vec![0; self.current.len()];
        self.aside.push(std::mem::replace(&mut self.current, empty));
        self.hits = 0;
        self.turn += 1;
    }

    /// Merges the view that was put aside last; false when there is none.
    pub fn pop(&mut self) -> bool {
        let Some(old) = self.aside.pop() else { return false };
        self.turn += 1;
        self.merge(&old);
        true
    }

    /// Takes the larger class of each edge. Bytes that are no class count as the class below.
    pub fn merge(&mut self, classes: &[u8]) {
        self.merge_at(0, classes);
    }

    /// [`View::merge`] for the edges from `first` on.
    pub fn merge_at(&mut self, first: usize, classes: &[u8]) {
        for (i, value) in classes.iter().enumerate() {
            self.mark(first + i, class::of_rank(class::rank(*value)));
        }
    }
}

impl Default for View {
    fn default() -> View {
        View::new()
    }
}

/// The smallest count of a class.
pub fn least_count(class: Class) -> u8 {
    match class {
        0..=2 => class,
        4 => 3,
        8 => 4,
        16 => 8,
        32 => 16,
        64 => 32,
        _ => 128,
    }
}

/// Takes what was counted since the last sweep into the view.
pub fn sweep(process: &mut Process) {
    let Some(live) = process.live_now() else { return };
    let Process { parts, view, .. } = process;
    if live.shared {
        gather(parts, live);
        for part in parts.iter_mut() {
            differences(part, live, view);
        }
        return;
    }
    for part in parts.iter().filter(|part| part.counted()) {
        match part.first {
            Some(first) if part.kind & GUARDS != 0 => drain_guards(part, live, view, first),
            Some(first) if part.alive => drain_sections(part, view, first, |_, _, _| {}),
            _ => {}
        }
    }
    live.region.header().journal_len.store(0, Ordering::Relaxed);
}

/// Drains a library's own counters and flags into the view and clears them; `also(plane, i, value)`
/// sees each byte, plane 0 being counters and 1 flags.
pub fn drain_sections(part: &Part, view: &mut View, first: usize, mut also: impl FnMut(usize, usize, u8)) {
    let len = part.edges as usize;
    // SAFETY: a living part's arrays are mapped and writable for all its edges.
    unsafe {
        if !part.counters.is_null() {
            each_touched(part.counters, len, true, |i, count| {
                view.mark(first + i, class::of_count(count));
                also(0, i, count);
            });
        }
        if !part.flags.is_null() {
            let counted = !part.counters.is_null();
            each_touched(part.flags, len, true, |i, _| {
                // A flag whose counter gave nothing: it wrapped, or there is none.
                if view.classes().get(first + i) == Some(&0) {
                    view.mark(first + i, if counted { class::WRAPPED } else { 1 });
                }
                also(1, i, 1);
            });
        }
    }
}

/// Drains the counters of guards into the view. By a scan and not by the journal: a thread that counts
/// meanwhile can leave a counter that is not 0 and stands in no journal, or an entry that is not yet
/// written when it is read; either would hide the edge for good.
fn drain_guards(part: &Part, live: Live, view: &mut View, first: usize) {
    // SAFETY: the part's range lies within the region.
    unsafe {
        let counters = live.region.counters().add(part.base as usize);
        each_touched(counters, part.edges as usize, true, |i, count| view.mark(first + i, class::of_count(count)));
    }
}

/// Carries counters that could not be moved over into the region, and clears them.
pub fn gather(parts: &[Part], live: Live) {
    for part in parts.iter().filter(|part| stays(part, live)) {
        let (base, len) = (part.base as usize, part.edges as usize);
        // SAFETY: a living part's arrays are mapped for all its edges; its range lies within the
        // region.
        unsafe {
            if !part.counters.is_null() {
                each_touched(part.counters, len, true, |i, count| {
                    let byte = live.region.counters().add(base + i);
                    *byte = (*byte).saturating_add(count);
                });
            }
            if !part.flags.is_null() {
                each_touched(part.flags, len, true, |i, _| *live.region.flags().add(base + i) = 1);
            }
        }
    }
}

/// Whether any library's counters must be carried over.
pub fn must_gather(parts: &[Part], live: Live) -> bool {
    parts.iter().any(|part| stays(part, live))
}

fn stays(part: &Part, live: Live) -> bool {
    let inline = part.kind & GUARDS == 0;
    live.shared && part.alive && part.counted() && inline && !part.moved
}

/// Remembers what the region holds of a part, so that it is not taken for news.
pub fn remember(part: &mut Part, live: Live) {
    let (base, len) = (part.base as usize, part.edges as usize);
    for (seen, plane) in part.seen.iter_mut().zip([live.region.counters(), live.region.flags()]) {
        // SAFETY: the part's range lies within the region.
        *seen = unsafe { std::slice::from_raw_parts(plane.add(base), len) }.to_vec();
    }
}

/// Marks the edges whose counter or flag is not what it was.
fn differences(part: &mut Part, live: Live, view: &mut View) {
    let Some(first) = part.first.filter(|_| part.counted()) else { return };
    let (base, counted) = (part.base as usize, part.kind & COUNTERS != 0);
    let [seen_counts, seen_flags] = &mut part.seen;
    let chunks = seen_counts.chunks_mut(CHUNK).zip(seen_flags.chunks_mut(CHUNK));
    for (chunk, (seen_counts, seen_flags)) in chunks.enumerate() {
        let (mut counts, mut flags) = ([0; CHUNK], [0; CHUNK]);
        let len = seen_counts.len();
        // SAFETY: `seen` has one byte an edge, the part's range lies within the region, and a chunk
        // is no longer than the arrays. The bytes are copied out first, since they may change.
        unsafe {
            let at = base + chunk * CHUNK;
            std::ptr::copy_nonoverlapping(live.region.counters().add(at), counts.as_mut_ptr(), len);
            std::ptr::copy_nonoverlapping(live.region.flags().add(at), flags.as_mut_ptr(), len);
        }
        if counts[..len] == *seen_counts && flags[..len] == *seen_flags {
            continue;
        }
        for i in 0..len {
            let class = class_of_change((seen_counts[i], seen_flags[i]), (counts[i], flags[i]), counted);
            view.mark(first + chunk * CHUNK + i, class);
        }
        seen_counts.copy_from_slice(&counts[..len]);
        seen_flags.copy_from_slice(&flags[..len]);
    }
}

const CHUNK: usize = 64;

/// What a change of (counter, flag) shows. A counter that is smaller than it was has been cleared,
/// or has wrapped: what it reads is the least that it can mean.
fn class_of_change(was: (u8, u8), is: (u8, u8), counted: bool) -> Class {
    if is.0 != was.0 {
        let more = if is.0 > was.0 { is.0 - was.0 } else { is.0 };
        return if more == 0 && is.1 != 0 { class::WRAPPED } else { class::of_count(more) };
    }
    match (was.1, is.1) {
        (0, 1..) if counted => class::WRAPPED,
        (0, 1..) => 1,
        _ => 0,
    }
}
