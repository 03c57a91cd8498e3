//! A library joins: its arrays become parts, each with a range of edges in the region.
//!
//! Counters and flags of the same length are the same edges and make one part. A library whose
//! objects were compiled in different ways brings several parts. A part keeps its dense number in
//! this process for good, also while its library is unloaded; its range in the region follows from
//! its identity, so a library that is loaded again gets the one it had. Copies of a library that are
//! loaded at once have ranges of their own in a private region, and one in a region that others read.

use std::sync::atomic::{AtomicU32, Ordering};

use hitmap_wire::PAGE;
use hitmap_wire::identity::{self, Identity, Loaded};
use hitmap_wire::modules::{self, COUNTERS, FLAGS, GUARDS, IN_PLACE, Module, PC_TABLE};
use hitmap_wire::region::FLAGS_IN_PAGE;

use crate::control::{self, Control};
use crate::process::{Live, Process};
use crate::{covmap, guards, inline, say, view};

/// An array from start to stop; both null when there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Span<T> {
    /// Its first element.
    pub start: *mut T,
    /// One past its last.
    pub stop: *mut T,
}

impl<T> Span<T> {
    /// No array.
    pub const NONE: Span<T> = Span { start: std::ptr::null_mut(), stop: std::ptr::null_mut() };

    /// How many elements it has.
    pub fn len(&self) -> u32 {
        let bytes = (self.stop as usize).saturating_sub(self.start as usize);
        u32::try_from(bytes / size_of::<T>()).unwrap_or(0)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a library said of itself.
#[derive(Clone, Copy)]
pub struct Arrays {
    /// Inline 8-bit counters.
    pub counters: Span<u8>,
    /// Inline bool flags.
    pub flags: Span<u8>,
    /// Guards.
    pub guards: Span<u32>,
    /// Addresses, two words an edge.
    pub pcs: Span<usize>,
    /// Whether counters and flags have pages of their own, in which they begin where the planes do.
    pub isolated: bool,
    /// The stub's control block; null without one.
    pub control: *mut Control,
}

impl Arrays {
    /// Nothing said yet.
    pub const NONE: Arrays = Arrays {
        counters: Span::NONE,
        flags: Span::NONE,
        guards: Span::NONE,
        pcs: Span::NONE,
        isolated: false,
        control: std::ptr::null_mut(),
    };

    /// An address inside the library; `None` when it brings no edges.
    pub fn address(&self) -> Option<usize> {
        let inline = [self.counters, self.flags].into_iter().find(|s| !s.is_empty()).map(|s| s.start as usize);
        inline.or((!self.guards.is_empty()).then_some(self.guards.start as usize))
    }
}

/// A run of edges of one library.
pub struct Part {
    /// The library's name for itself.
    pub identity: Identity,
    /// The file it was loaded from.
    pub path: String,
    /// As in the module table.
    pub kind: u32,
    /// How many edges.
    pub edges: u32,
    /// The region's number of the first; 0: it did not fit.
    pub base: u32,
    /// The dense number of the first in this process, once it fitted anywhere.
    pub first: Option<usize>,
    /// Whether the library is loaded now.
    pub alive: bool,
    /// Whether counters and flags lie on the region's pages.
    pub moved: bool,
    /// Inline counters, or null.
    pub counters: *mut u8,
    /// Inline flags, or null.
    pub flags: *mut u8,
    /// Guards, or null.
    pub guards: *mut u32,
    /// The stub's control block, or null.
    pub control: *mut Control,
    /// What a reader that does not clear has seen: counters, then flags.
    pub seen: [Vec<u8>; 2],
    bias: u64,
    pcs: u64,
}

// SAFETY: the pointers lead into a loaded library, which belongs to the whole process; they are
// used under the process lock.
unsafe impl Send for Part {}
// SAFETY: as above.
unsafe impl Send for Arrays {}

impl Part {
    /// Whether it is counted.
    pub fn counted(&self) -> bool {
        self.base != 0
    }

    /// An address inside the library.
    pub fn address(&self) -> usize {
        [self.counters as usize, self.flags as usize, self.guards as usize].into_iter().find(|a| *a != 0).unwrap_or(0)
    }

    /// Whether its guards are as the loader made them.
    fn has_fresh_guards(&self) -> bool {
        // SAFETY: the caller's library is loaded, so its guards are; they are aligned words.
        !self.guards.is_null() && unsafe { AtomicU32::from_ptr(self.guards) }.load(Ordering::Relaxed) == 0
    }

    fn module(&self) -> Module {
        Module {
            identity: self.identity,
            path: self.path.clone(),
            kind: self.kind,
            base: 0,
            edges: self.edges,
            load_bias: self.bias,
            pc_table: self.pcs,
        }
    }
}

/// A library with our stub joins; does nothing when it has joined already.
///
/// # Safety
/// `control` must be a control block in loaded, relocated memory.
pub unsafe fn join_control(process: &mut Process, control: *mut Control) {
    // SAFETY: the caller's word; every block has these two.
    let (version, size) = unsafe { ((*control).version, (*control).size) };
    if version != control::VERSION || (size as usize) < control::LEAST {
        say::line(format_args!(
            "a library was built by another hitmap (control block {version}, this runtime reads {}): rebuild it",
            control::VERSION
        ));
        return;
    }
    // SAFETY: its size covers all that is read here. No reference to the whole is made: the block of
    // an older library is shorter.
    let (counters, flags, guards, pcs, this) =
        unsafe { ((*control).counters, (*control).flags, (*control).guards, (*control).pcs, (*control).this) };
    if this != control {
        return;
    }
    let span = |of: &[*mut u8; 3]| Span { start: of[0], stop: of[1] };
    let own_pages = |of: &[*mut u8; 3], within| {
        let paged = of[0] as usize % PAGE == within && !of[2].is_null() && (of[2] as usize).is_multiple_of(PAGE);
        paged || of[0] == of[1]
    };
    let arrays = Arrays {
        counters: span(&counters),
        flags: span(&flags),
        guards: Span { start: guards[0], stop: guards[1] },
        pcs: Span { start: pcs[0].cast_mut(), stop: pcs[1].cast_mut() },
        isolated: own_pages(&counters, 0) && own_pages(&flags, FLAGS_IN_PAGE),
        control,
    };
    join(process, arrays);
}

/// A library joins; does nothing when it has joined already, or brings no edges.
pub fn join(process: &mut Process, arrays: Arrays) {
    let Some(loaded) = arrays.address().and_then(identity::holding) else { return };
    for mut part in parts_of(&arrays, &loaded) {
        let known = process.parts.iter().position(|old| {
            (old.identity, old.edges, old.kind & !PC_TABLE) == (part.identity, part.edges, part.kind & !PC_TABLE)
                && (!old.alive || old.address() == part.address())
        });
        let at = match known {
            Some(at) if process.parts[at].alive => {
                let live = process.live_now();
                let old = &mut process.parts[at];
                // It went, and came back to the same place before anybody looked.
                if let Some(live) = live.filter(|_| old.counted() && old.has_fresh_guards()) {
                    count_from_now(old, live);
                }
                if old.pcs == part.pcs || part.pcs == 0 {
                    continue;
                }
                // The addresses were announced after the edges: only the table's entry changes.
                (old.pcs, old.kind) = (part.pcs, part.kind);
                if let Some(live) = process.live() {
                    let taken = copies(process, at, live);
                    let _ = modules::register_beside(live.region, &process.parts[at].module(), &taken);
                    name_functions(&process.parts[at], live);
                }
                continue;
            }
            Some(at) => {
                part.first = process.parts[at].first;
                process.parts[at] = part;
                at
            }
            None => {
                process.parts.push(part);
                process.parts.len() - 1
            }
        };
        enter(process, at);
    }
}

/// Splits a library into parts whose arrays index the same edges.
fn parts_of(arrays: &Arrays, loaded: &Loaded) -> Vec<Part> {
    let pcs = arrays.pcs.len() / 2;
    let part = |kind: u32, counters: Span<u8>, flags: Span<u8>, guards: Span<u32>| {
        let edges = counters.len().max(flags.len()).max(guards.len());
        let addresses = pcs == edges;
        let in_place = kind & GUARDS == 0 && !arrays.isolated;
        Part {
            identity: loaded.identity,
            path: path_of(loaded),
            kind: kind | if addresses { PC_TABLE } else { 0 } | if in_place { IN_PLACE } else { 0 },
            edges,
            base: 0,
            first: None,
            alive: true,
            moved: false,
            counters: if counters.is_empty() { std::ptr::null_mut() } else { counters.start },
            flags: if flags.is_empty() { std::ptr::null_mut() } else { flags.start },
            guards: if guards.is_empty() { std::ptr::null_mut() } else { guards.start },
            control: arrays.control,
            seen: [Vec::new(), Vec::new()],
            bias: loaded.bias,
            pcs: if addresses { arrays.pcs.start as u64 } else { 0 },
        }
    };
    let (counters, flags, guards) = (arrays.counters, arrays.flags, arrays.guards);
    let mut parts = Vec::new();
    if !counters.is_empty() && counters.len() == flags.len() {
        parts.push(part(COUNTERS | FLAGS, counters, flags, Span::NONE));
    } else {
        if !counters.is_empty() {
            parts.push(part(COUNTERS, counters, Span::NONE, Span::NONE));
        }
        if !flags.is_empty() {
            parts.push(part(FLAGS, Span::NONE, flags, Span::NONE));
        }
    }
    // Guards beside inline arrays of the same length are the same edges, instrumented twice: the
    // inline arrays count, the guards stay at 0.
    let twice = parts.iter().any(|p| p.edges == guards.len()) && (pcs == 0 || pcs == guards.len());
    if !guards.is_empty() && !twice {
        parts.push(part(GUARDS, Span::NONE, Span::NONE, guards));
    }
    parts
}

fn path_of(loaded: &Loaded) -> String {
    if loaded.path.is_empty() {
        return std::env::current_exe().map_or_else(|_| String::new(), |p| p.to_string_lossy().into_owned());
    }
    String::from_utf8_lossy(&loaded.path).into_owned()
}

/// Gives a part its range in the region in use, and makes it count there. What it counted so far,
/// and what the view has of it, moves along.
pub fn enter(process: &mut Process, at: usize) {
    let Some(live) = process.live() else { return };
    let taken = copies(process, at, live);
    let Process { parts, view, .. } = process;
    let part = &mut parts[at];
    if part.alive && !part.control.is_null() {
        // SAFETY: the library is loaded, so its control block is; regions are never unmapped.
        unsafe {
            (*part.control).leave = Some(crate::abi::library_leaves);
            Control::tell_comparisons(part.control, live.plane.comparisons);
        }
    }
    match modules::register_beside(live.region, &part.module(), &taken) {
        Ok(base) => part.base = base,
        Err(refusal) => {
            part.base = 0;
            say::line(format_args!("{}: {} edges are not counted: {refusal}", part.module().name(), part.edges));
            return;
        }
    }
    if part.first.is_none() && part.alive && covmap::is_open() && !records_functions(part) {
        covmap::cannot_record(part.module().name());
    }
    let first = *part.first.get_or_insert_with(|| view.grow(part.edges as usize));
    if live.shared {
        if !part.moved {
            absorb(part, live, view, first);
        }
        carry(part, live, view, first);
        move_over(part, live);
        view::remember(part, live);
    }
    if !part.guards.is_null() && part.alive {
        count_from_now(part, live);
    }
}

/// Where the ranges of other loaded copies of a library begin, which must count apart from it. In a region that
/// another process reads they all have one: a library's range there follows from its identity.
fn copies(process: &Process, at: usize, live: Live) -> Vec<u32> {
    let part = &process.parts[at];
    let is_copy = |other: &Part| {
        (other.identity, other.edges, other.kind & !PC_TABLE) == (part.identity, part.edges, part.kind & !PC_TABLE)
    };
    let others = process.parts.iter().enumerate().filter(|(other, _)| *other != at && !live.shared);
    others.filter(|(_, other)| other.alive && other.counted() && is_copy(other)).map(|(_, other)| other.base).collect()
}

/// Copies what the library counted in its own memory into region and view.
fn absorb(part: &mut Part, live: Live, view: &mut view::View, first: usize) {
    if !part.alive {
        return;
    }
    view::drain_sections(part, view, first, |plane, i, value| {
        let planes = [live.region.counters(), live.region.flags()];
        // SAFETY: `i` is below the part's edges, and its range lies within the region.
        let byte = unsafe { &mut *planes[plane].add(part.base as usize + i) };
        *byte = (*byte).max(value);
    });
}

/// Writes what the view has of a part into the region, as the smallest count of each class.
fn carry(part: &Part, live: Live, view: &view::View, first: usize) {
    for i in 0..part.edges as usize {
        let class = view.ever(first + i);
        if class == 0 {
            continue;
        }
        let edge = part.base as usize + i;
        // SAFETY: the edge lies in the part's range of the region.
        unsafe {
            if part.kind & FLAGS != 0 {
                *live.region.flags().add(edge) = 1;
            }
            if part.kind & (COUNTERS | GUARDS) != 0 {
                let byte = live.region.counters().add(edge);
                if *byte == 0 && part.kind & GUARDS != 0 {
                    live.region.push_journal(edge as u32);
                }
                *byte = (*byte).max(view::least_count(class));
            }
        }
    }
}

fn move_over(part: &mut Part, live: Live) {
    if part.guards.is_null() && part.alive && part.kind & IN_PLACE == 0 {
        let (base, len) = (part.base as usize, part.edges as usize);
        let mut moved = true;
        for (section, plane) in [(part.counters, live.region.counters()), (part.flags, live.region.flags())] {
            if !section.is_null() {
                // SAFETY: the library said that these pages hold nothing else (isolate.ld), at
                // the place in a page that the planes have; the base is a multiple of a page, and
                // the region is shared.
                moved &= unsafe { inline::map_over(section, plane.add(base), len) };
            }
        }
        part.moved = moved;
        if !moved {
            say::line(format_args!(
                "{}: the system refuses to move its counters; what a run that dies has counted is lost",
                part.module().name()
            ));
        }
    } else if part.kind & IN_PLACE != 0 {
        say::line(format_args!(
            "{}: its counters share pages with other data, or were laid out by an older hitmap, so they are carried \
             over after each run and lost when it dies; link it with hitmap-clang, or with the flags that `hitmap \
             flags` prints",
            part.module().name()
        ));
    }
}

fn count_from_now(part: &mut Part, live: Live) {
    if !part.control.is_null() {
        // SAFETY: the library is loaded, so its control block is; the callback reads both words
        // atomically, and its guards are still 0.
        unsafe {
            (&raw mut (*part.control).plane).write_volatile(live.plane);
            (&raw mut (*part.control).live).write_volatile(live.plane.counters);
        }
    }
    name_functions(part, live);
    // SAFETY: the library is loaded, so its guards are.
    unsafe { guards::number(part.guards, part.edges, part.base) };
}

/// Whether the bits of a library's functions are set while it runs. Objects without our stub are
/// believed to have addresses, which they announce after their guards; see [`without_names`].
fn records_functions(part: &Part) -> bool {
    let named = part.pcs != 0 || part.control.is_null();
    // SAFETY: the library is loaded, so its control block is.
    let told = || part.control.is_null() || unsafe { Control::tell_of_touches(part.control, covmap::touched) };
    !part.guards.is_null() && named && told()
}

/// The libraries without our stub that announced guards, and no addresses until now.
pub fn without_names(process: &Process) -> impl Iterator<Item = String> {
    let unnamed = |part: &&Part| !part.guards.is_null() && part.control.is_null() && part.pcs == 0 && part.alive;
    process.parts.iter().filter(unnamed).map(|part| part.module().name().to_owned())
}

/// Names the functions of a library whose guards are read by their addresses.
fn name_functions(part: &Part, live: Live) {
    if part.guards.is_null() || part.pcs == 0 || !part.counted() {
        return;
    }
    // SAFETY: the library is loaded, so its address table is, with two words an edge.
    let pcs = unsafe { std::slice::from_raw_parts(part.pcs as *const usize, part.edges as usize * 2) };
    covmap::name_functions(live.region, part.base, pcs, part.bias, &part.path);
}

/// Before a library is unloaded: what it counted in its own memory is taken over.
pub fn leave(process: &mut Process, control: *mut Control) {
    view::sweep(process);
    for part in process.parts.iter_mut().filter(|part| part.control == control) {
        part.alive = false;
        part.moved = false;
        part.control = std::ptr::null_mut();
    }
}
