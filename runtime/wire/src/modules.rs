//! The module table: which library owns which range of edges.
//!
//! A library is entered once, under a robust lock (when its owner is killed the next one recovers
//! it), and keeps its range for the life of the region: whoever registers the same identity again,
//! in this process or a later child, gets the same numbers. Ranges start at a page, because inline
//! counters are moved onto the region page by page. A library that does not fit is entered as
//! refused, with the number of edges that it wanted, and is not counted.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::PAGE;
use crate::identity::Identity;
use crate::region::{Header, MODULES, Region};

/// Inline 8-bit counters, moved onto the region.
pub const COUNTERS: u32 = 1;
/// Inline bool flags, moved onto the region.
pub const FLAGS: u32 = 2;
/// `trace-pc-guard`: counted by a callback, journalled, saturating.
pub const GUARDS: u32 = 4;
/// A table of (address, is function entry) lies beside the counters.
pub const PC_TABLE: u32 = 8;
/// The counters share pages with other data, so they stay where they are and the process itself
/// must carry them over ([`crate::region`] cannot see them when it dies).
pub const IN_PLACE: u32 = 16;

const KINDS: u32 = COUNTERS | FLAGS | GUARDS | PC_TABLE | IN_PLACE;
const PATH: usize = 1024 - 84;

const EMPTY: u32 = 0;
const READY: u32 = 1;
const REFUSED: u32 = 2;

/// One library, in shared memory.
#[repr(C)]
pub struct ModuleRecord {
    state: AtomicU32,
    kind: u32,
    base: u32,
    edges: u32,
    load_bias: AtomicU64,
    pc_table: AtomicU64,
    identity: Identity,
    path_len: u32,
    reserved: u32,
    reserved2: u32,
    path: [u8; PATH],
}

const RECORD: usize = size_of::<ModuleRecord>();
const _: () = assert!(RECORD == 1024);

/// One library, copied out of shared memory and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name for itself.
    pub identity: Identity,
    /// The file it was loaded from; long paths keep their end.
    pub path: String,
    /// [`COUNTERS`], [`FLAGS`], [`GUARDS`], [`PC_TABLE`], [`IN_PLACE`], or-ed.
    pub kind: u32,
    /// The region's number of its first edge; 0 when it was refused.
    pub base: u32,
    /// How many edges it has.
    pub edges: u32,
    /// What to add to an address in its file to get one in the process that registered it last.
    pub load_bias: u64,
    /// Where that process has its table of addresses; 0 for none.
    pub pc_table: u64,
}

impl Module {
    /// Whether it did not fit.
    pub fn is_refused(&self) -> bool {
        self.base == 0
    }

    /// Its file name without folders.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The region's numbers of its edges.
    pub fn range(&self) -> std::ops::Range<u32> {
        self.base..self.base + self.edges
    }
}

/// Why a library is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The map is full.
    Full {
        /// Edges that are left.
        left: u32,
        /// A capacity (`--map-edges`) with which everything seen so far fits.
        needed: u32,
    },
    /// There are already [`MODULES`] libraries.
    TooManyModules,
    /// The table's lock could not be had within two seconds.
    Lock,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Full { left, needed } => {
                write!(f, "map full: {left} edges left; rerun with --map-edges {needed}")
            }
            Refusal::TooManyModules => write!(f, "a map holds at most {MODULES} libraries"),
            Refusal::Lock => write!(f, "the map's lock is held by a process that does not go on"),
        }
    }
}

/// Enters a library, or finds the entry it already has. `base` of what is passed is ignored.
///
/// Returns the number of its first edge. The address fields of an entry that was there already are
/// replaced: they describe the process that registered last.
///
/// # Errors
/// See [`Refusal`].
pub fn register(region: &Region, new: &Module) -> Result<u32, Refusal> {
    register_beside(region, new, &[])
}

/// [`register`] for a copy of a library that counts apart from the copies whose ranges begin at `taken`. Only for
/// a region that belongs to one process: to others, a library is one however often it is loaded.
///
/// # Errors
/// See [`Refusal`].
pub fn register_beside(region: &Region, new: &Module, taken: &[u32]) -> Result<u32, Refusal> {
    let _guard = Guard::take(region).ok_or(Refusal::Lock)?;
    for at in 0..region.module_count() {
        let Some(old) = read(region, at) else { continue };
        // Addresses may be announced after the edges, so they do not make a library another one.
        let same_kind = (old.kind ^ new.kind) & !PC_TABLE == 0;
        let same = (old.identity, old.edges) == (new.identity, new.edges) && same_kind;
        if same && !taken.contains(&old.base) {
            // SAFETY: `at` is below the count, so the record lies within the table, and the lock
            // makes us its only writer.
            let record = unsafe { &mut *region.records().add(at) };
            record.kind = new.kind;
            record.load_bias.store(new.load_bias, Ordering::Relaxed);
            record.pc_table.store(new.pc_table, Ordering::Relaxed);
            return if old.is_refused() { Err(full(region)) } else { Ok(old.base) };
        }
    }
    let at = region.module_count();
    if at == MODULES {
        return Err(Refusal::TooManyModules);
    }
    let header = region.header();
    let base = header.next_edge.load(Ordering::Relaxed);
    let end = u64::from(base) + u64::from(new.edges).next_multiple_of(PAGE as u64);
    let fits = end <= u64::from(region.layout().capacity);
    let base = if fits { base } else { 0 };
    // SAFETY: `at` is below MODULES, and the lock makes us the only writer of this record.
    unsafe { write(region.records().add(at), new, base) };
    if fits {
        header.next_edge.store(end as u32, Ordering::Relaxed);
    } else {
        header.refused_edges.fetch_add(new.edges, Ordering::Relaxed);
    }
    header.module_count.store(at as u32 + 1, Ordering::Release);
    if fits { Ok(base) } else { Err(full(region)) }
}

/// What a full map lacks: the edges left, and a capacity with which all that was refused fits.
pub fn full(region: &Region) -> Refusal {
    let header = region.header();
    let used = header.next_edge.load(Ordering::Relaxed);
    let left = region.layout().capacity.saturating_sub(used);
    let wanted = u64::from(used) + u64::from(header.refused_edges.load(Ordering::Relaxed)) + (MODULES * PAGE) as u64;
    Refusal::Full { left, needed: wanted.next_power_of_two().min(u64::from(u32::MAX)) as u32 }
}

/// # Safety
/// `record` must be writable and nobody else may write it.
unsafe fn write(record: *mut ModuleRecord, new: &Module, base: u32) {
    let path = new.path.as_bytes();
    let kept = &path[path.len().saturating_sub(PATH)..];
    // SAFETY: the caller's word.
    let record = unsafe { &mut *record };
    record.kind = new.kind;
    record.base = base;
    record.edges = new.edges;
    record.load_bias.store(new.load_bias, Ordering::Relaxed);
    record.pc_table.store(new.pc_table, Ordering::Relaxed);
    record.identity = new.identity;
    record.path_len = kept.len() as u32;
    record.path[..kept.len()].copy_from_slice(kept);
    record.state.store(if base == 0 { REFUSED } else { READY }, Ordering::Release);
}

/// Puts back a table that a mad process scribbled over: everything `known` says is written again,
/// and later entries are dropped.
pub fn restore(region: &Region, known: &[Module]) {
    for (at, module) in known.iter().enumerate().take(MODULES) {
        // SAFETY: `at` is below MODULES; the caller owns the region while no child runs.
        unsafe { write(region.records().add(at), module, module.base) };
    }
    let next = known.iter().map(|m| (m.range().end as usize).next_multiple_of(PAGE)).max().unwrap_or(PAGE);
    region.header().next_edge.store(next as u32, Ordering::Relaxed);
    region.header().module_count.store(known.len() as u32, Ordering::Release);
}

/// Gives `to`, which has the same layout, the module table of `from`: every library has the same
/// range in both.
pub fn copy(from: &Region, to: &Region) {
    debug_assert_eq!(from.layout(), to.layout());
    let count = from.module_count();
    // SAFETY: both tables have MODULES records, which are plain data; the caller owns `to`.
    unsafe { std::ptr::copy_nonoverlapping(from.records().cast::<u8>(), to.records().cast(), count * RECORD) };
    let (old, new) = (from.header(), to.header());
    new.next_edge.store(old.next_edge.load(Ordering::Relaxed), Ordering::Relaxed);
    new.refused_edges.store(old.refused_edges.load(Ordering::Relaxed), Ordering::Relaxed);
    new.module_count.store(count as u32, Ordering::Release);
}

/// Copies one record out; `None` when it is not ready, or does not make sense.
pub fn read(region: &Region, at: usize) -> Option<Module> {
    if at >= region.module_count() {
        return None;
    }
    // SAFETY: `at` is below MODULES. Fields are plain data: whatever a mad process wrote there is a
    // valid value, and it is checked below.
    let record = unsafe { &*region.records().add(at) };
    let state = record.state.load(Ordering::Acquire);
    if state == EMPTY || state > REFUSED || record.kind & !KINDS != 0 {
        return None;
    }
    let path = record.path.get(..record.path_len as usize)?;
    let module = Module {
        identity: record.identity,
        path: String::from_utf8_lossy(path).into_owned(),
        kind: record.kind,
        base: record.base,
        edges: record.edges,
        load_bias: record.load_bias.load(Ordering::Relaxed),
        pc_table: record.pc_table.load(Ordering::Relaxed),
    };
    let end = module.base.checked_add(module.edges)?;
    let refused = state == REFUSED;
    let sensible = if refused {
        module.base == 0
    } else {
        module.base >= PAGE as u32 && module.base.is_multiple_of(PAGE as u32) && end <= region.layout().capacity
    };
    sensible.then_some(module)
}

/// Every library that makes sense, in order of entry.
pub fn all(region: &Region) -> Vec<Module> {
    (0..region.module_count()).filter_map(|at| read(region, at)).collect()
}

/// Prepares the lock of a fresh region.
///
/// # Safety
/// `header` must be writable and not yet shared.
///
/// # Errors
/// What `pthread_mutex_init(3)` reports.
pub(crate) unsafe fn make_lock(header: *mut Header) -> io::Result<()> {
    // SAFETY: the attribute is initialised before use; the storage is large and aligned enough for a
    // mutex, which the header's assertions check.
    unsafe {
        let mut attr: libc::pthread_mutexattr_t = std::mem::zeroed();
        libc::pthread_mutexattr_init(&mut attr);
        libc::pthread_mutexattr_setpshared(&mut attr, libc::PTHREAD_PROCESS_SHARED);
        libc::pthread_mutexattr_setrobust(&mut attr, libc::PTHREAD_MUTEX_ROBUST);
        match libc::pthread_mutex_init((&raw mut (*header).lock).cast(), &attr) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

struct Guard<'a>(&'a Region);

impl<'a> Guard<'a> {
    fn take(region: &'a Region) -> Option<Guard<'a>> {
        let lock = (&raw const region.header().lock).cast_mut().cast::<libc::pthread_mutex_t>();
        // SAFETY: `make_lock` initialised the mutex; a process that scribbles over it can make this
        // call fail or wait two seconds, no more.
        unsafe {
            let mut until: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_REALTIME, &mut until);
            until.tv_sec += 2;
            match libc::pthread_mutex_timedlock(lock, &until) {
                0 => Some(Guard(region)),
                libc::EOWNERDEAD => {
                    // The owner died while it wrote a record; the count was not yet raised, so the
                    // half-written record is simply written again.
                    libc::pthread_mutex_consistent(lock);
                    Some(Guard(region))
                }
                _ => None,
            }
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let lock = (&raw const self.0.header().lock).cast_mut().cast::<libc::pthread_mutex_t>();
        // SAFETY: `take` locked it.
        unsafe { libc::pthread_mutex_unlock(lock) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, edges: u32) -> Module {
        Module {
            identity: Identity::new(name.as_bytes()),
            path: format!("/lib/{name}.so"),
            kind: COUNTERS | FLAGS,
            base: 0,
            edges,
            load_bias: 0x7000,
            pc_table: 0,
        }
    }

    #[test]
    fn a_library_keeps_its_range() {
        let region = Region::private(100_000).unwrap();
        let a = register(&region, &module("a", 10)).unwrap();
        let b = register(&region, &module("b", 5000)).unwrap();
        assert_eq!((a, b), (4096, 8192));
        let moved = Module { load_bias: 0x9000, ..module("a", 10) };
        assert_eq!(register(&region, &moved), Ok(a));
        assert_eq!(read(&region, 0).unwrap().load_bias, 0x9000);
        assert_eq!(register(&region, &module("c", 1)), Ok(16384));
    }

    #[test]
    fn copies_that_count_apart_have_ranges_of_their_own() {
        let region = Region::private(100_000).unwrap();
        let a = register(&region, &module("a", 10)).unwrap();
        let copy = register_beside(&region, &module("a", 10), &[a]).unwrap();
        assert_ne!(copy, a);
        assert_eq!(register_beside(&region, &module("a", 10), &[a]), Ok(copy), "one that comes back");
        assert_eq!(register_beside(&region, &module("a", 10), &[copy]), Ok(a));
        assert_eq!(register(&region, &module("a", 10)), Ok(a));
    }

    #[test]
    fn a_full_map_names_the_size_that_is_needed() {
        let region = Region::private(8192).unwrap();
        register(&region, &module("a", 8)).unwrap();
        let Err(Refusal::Full { left, needed }) = register(&region, &module("big", 1 << 20)) else {
            panic!("it fits?")
        };
        assert_eq!(left, 4096);
        let larger = Region::private(needed).unwrap();
        register(&larger, &module("a", 8)).unwrap();
        register(&larger, &module("big", 1 << 20)).unwrap();
        assert!(all(&region)[1].is_refused());
        assert_eq!(register(&region, &module("small", 1)), Ok(8192), "what still fits is counted");
    }

    #[test]
    fn a_scribbled_table_is_restored() {
        let region = Region::private(100_000).unwrap();
        register(&region, &module("a", 10)).unwrap();
        let known = all(&region);
        // SAFETY: the test owns the region.
        unsafe { std::ptr::write_bytes(region.records().cast::<u8>(), 0xFF, 4096) };
        assert_eq!(read(&region, 0), None);
        restore(&region, &known);
        assert_eq!(all(&region), known);
    }

    #[test]
    fn a_copied_table_goes_on_where_the_first_stood() {
        let (one, two) = (Region::private(100_000).unwrap(), Region::private(100_000).unwrap());
        let a = register(&one, &module("a", 10)).unwrap();
        register(&two, &module("of an earlier run", 9000)).unwrap();
        copy(&one, &two);
        assert_eq!(all(&two), all(&one));
        assert_eq!(register(&two, &module("a", 10)), Ok(a));
        assert_eq!(register(&two, &module("b", 10)), Ok(a + PAGE as u32));
    }

    #[test]
    fn a_killed_owner_is_recovered() {
        let (_fd, region) = Region::create(10_000, 1, 0).unwrap();
        // SAFETY: the child only takes a lock and dies.
        let child = unsafe { libc::fork() };
        if child == 0 {
            std::mem::forget(Guard::take(&region));
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: waits for our own child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        assert_eq!(register(&region, &module("a", 10)), Ok(4096));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe_as_a_record(bytes in proptest::collection::vec(proptest::num::u8::ANY, 1024), count: u32) {
            let region = Region::private(10_000).unwrap();
            // SAFETY: the test owns the region; a record is 1024 bytes of plain data.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), region.records().cast::<u8>(), 1024) };
            region.header().module_count.store(count, Ordering::Relaxed);
            for module in all(&region) {
                assert!(module.range().end <= region.layout().capacity);
            }
        }
    }
}
