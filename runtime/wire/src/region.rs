//! The map region: a header, the module table, two planes, the journal and the comparison log.
//!
//! ```text
//! offset 0            Header                       one page
//!        4096         ModuleRecord x 1024          1 MiB
//!        ...          counters, one byte an edge   how often an edge ran (wraps or saturates)
//!        ... + 2048   flags, one byte an edge      whether it ran
//!        ...          journal, one u32 an edge     edges first touched since the last clear
//!        ...          comparisons                  what a run compared, when it is asked to tell
//! ```
//!
//! Everything follows from the capacity in edges, which never changes: the region is reserved once
//! and its pages cost nothing until they are touched. Page 0 of both planes belongs to nobody, so
//! edge 0 is nowhere; byte 0 of the counters is kept at 255, which makes a guard that has no edge
//! yet count into nothing and journal nothing.
//!
//! The flags begin in the middle of a page. Instrumented code writes an edge's counter and at once
//! reads its flag; if both stood at the same place of their pages, the processor would take the load
//! to depend on the store, as it compares the low 12 bits of their addresses. Half a page between
//! them saved two to five hundredths of the plain build's time on two libraries.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::PAGE;
use crate::comparisons;
use crate::mapping::{self, Access, Mapping};
use crate::modules::ModuleRecord;

/// What a region starts with.
pub const MAGIC: u64 = u64::from_le_bytes(*b"hitmap\0R");
/// The version of this layout. A reader refuses any other.
pub const VERSION: u32 = 3;
/// Where in a page the flags of a region begin, and those of each library that can be moved onto it.
pub const FLAGS_IN_PAGE: usize = PAGE / 2;
/// How many libraries one process may bring.
pub const MODULES: usize = 1024;
/// A length that no journal has, so far below the end of the numbers that it does not wrap.
const DISTRUSTED: u32 = 1 << 31;
/// The default capacity: TVM, the largest known target, has 3.1 million edges.
pub const DEFAULT_EDGES: u32 = 8 << 20;
/// The largest capacity: edge indices stay below 2^31 so that no arithmetic on them overflows.
pub const MAX_EDGES: u32 = 1 << 30;

/// Set in [`Header::mode`] when an engine owns the map: it clears it between runs, and views inside
/// the process must leave it as it is.
pub const MODE_ENGINE: u32 = 1;

/// The first page of a region.
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// Edges that fit, page 0 included; a multiple of [`PAGE`].
    pub capacity: u32,
    /// A number that tells this region from every other on this machine.
    pub token: u64,
    /// [`MODE_ENGINE`] or 0.
    pub mode: u32,
    /// Records in the module table that are ready to read.
    pub module_count: AtomicU32,
    /// The next edge that is free; a multiple of [`PAGE`].
    pub next_edge: AtomicU32,
    /// Edges wanted by modules that did not fit. Not 0: the map is full.
    pub refused_edges: AtomicU32,
    /// A robust, process-shared `pthread_mutex_t` for the module table.
    pub lock: [u64; 8],
    /// Keeps the next field on a cache line of its own.
    pub reserved: [u64; 5],
    /// Entries pushed to the journal since the last clear; may exceed its capacity, which means
    /// that entries were lost and the planes must be swept instead.
    pub journal_len: AtomicU32,
}

const _: () = assert!(size_of::<Header>() <= PAGE);
const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= 64);
const _: () = assert!(std::mem::offset_of!(Header, lock) == 40);
const _: () = assert!(std::mem::offset_of!(Header, journal_len) == 144);

/// Where everything lies in a region of a given capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Edges that fit, page 0 included.
    pub capacity: u32,
    /// Offset of the counters, in bytes.
    pub counters: usize,
    /// Offset of the flags, in bytes.
    pub flags: usize,
    /// Offset of the journal, in bytes.
    pub journal: usize,
    /// Offset of the comparison log, in bytes.
    pub comparisons: usize,
    /// The whole region, in bytes.
    pub total: usize,
}

impl Layout {
    /// The layout of a region for at least `edges` edges; `None` above [`MAX_EDGES`].
    pub fn for_edges(edges: u32) -> Option<Layout> {
        if edges > MAX_EDGES {
            return None;
        }
        let capacity = (edges as usize).next_multiple_of(PAGE).max(PAGE) + PAGE;
        let counters = PAGE + MODULES * size_of::<ModuleRecord>();
        let flags = counters + capacity + FLAGS_IN_PAGE;
        let journal = counters + 2 * capacity + PAGE;
        let comparisons = journal + capacity * size_of::<u32>();
        let total = (comparisons + size_of::<comparisons::Log>()).next_multiple_of(PAGE);
        Some(Layout { capacity: capacity as u32, counters, flags, journal, comparisons, total })
    }

    fn of_capacity(capacity: u32) -> Option<Layout> {
        let layout = Layout::for_edges(capacity.checked_sub(PAGE as u32)?)?;
        (layout.capacity == capacity).then_some(layout)
    }
}

/// Why a file is not a region that this build can read.
#[derive(Debug)]
pub enum AttachError {
    /// The descriptor cannot be read or mapped.
    Io(io::Error),
    /// The file does not start like a region.
    NotARegion,
    /// The region was made by another version of hitmap.
    Version(u32),
    /// The header's capacity and the file's length disagree.
    Size,
    /// It is a region, but not the one that was named.
    Token,
    /// It is a region, but holds fewer edges than are asked for.
    Small {
        /// Edges that it holds.
        edges: u32,
    },
}

impl std::fmt::Display for AttachError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AttachError::Io(e) => write!(f, "the map cannot be opened: {e}"),
            AttachError::NotARegion => write!(f, "not a hitmap region"),
            AttachError::Version(v) => {
                write!(
                    f,
                    "the map has layout version {v}, this hitmap reads version {VERSION}; use the same hitmap on both sides"
                )
            }
            AttachError::Size => write!(f, "the map's length does not match its header"),
            AttachError::Token => write!(f, "the map belongs to another campaign"),
            AttachError::Small { edges } => {
                write!(f, "there is a map of that name for {edges} edges; remove it, or ask for no more")
            }
        }
    }
}

impl std::error::Error for AttachError {}

/// A mapped region.
#[derive(Debug)]
pub struct Region {
    mapping: Mapping,
    layout: Layout,
}

impl Region {
    /// Makes a region for `edges` edges in a memory file.
    ///
    /// # Errors
    /// When `edges` is above [`MAX_EDGES`] or the system refuses the memory.
    pub fn create(edges: u32, token: u64, mode: u32) -> io::Result<(OwnedFd, Region)> {
        let layout = Layout::for_edges(edges).ok_or_else(too_large)?;
        let fd = mapping::memory_file(c"hitmap-region", layout.total)?;
        mapping::seal_length(std::os::fd::AsFd::as_fd(&fd))?;
        let mapping = Mapping::of_file(std::os::fd::AsFd::as_fd(&fd), layout.total, Access::Shared)?;
        Ok((fd, Self::initialise(mapping, layout, token, mode)?))
    }

    /// Makes a region in private memory: a forked child gets a copy.
    ///
    /// # Errors
    /// When `edges` is above [`MAX_EDGES`] or the system refuses the memory.
    pub fn private(edges: u32) -> io::Result<Region> {
        let layout = Layout::for_edges(edges).ok_or_else(too_large)?;
        Self::initialise(Mapping::anonymous(layout.total)?, layout, 0, 0)
    }

    /// Makes a region in an empty file that can be mapped by others.
    ///
    /// # Errors
    /// As for [`Region::create`].
    pub(crate) fn create_in(fd: BorrowedFd<'_>, edges: u32, token: u64, mode: u32) -> io::Result<Region> {
        let layout = Layout::for_edges(edges).ok_or_else(too_large)?;
        crate::named::set_len(fd, layout.total)?;
        Self::initialise(Mapping::of_file(fd, layout.total, Access::Shared)?, layout, token, mode)
    }

    /// Maps the region behind `fd`, after checking that it is the one with this token.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(fd: BorrowedFd<'_>, token: u64) -> Result<Region, AttachError> {
        Self::attach_any(fd).and_then(
            |region| {
                if region.header().token == token { Ok(region) } else { Err(AttachError::Token) }
            },
        )
    }

    /// Maps the region behind `fd`, after checking that it is one.
    ///
    /// # Errors
    /// See [`AttachError`]; all but [`AttachError::Token`].
    pub fn attach_any(fd: BorrowedFd<'_>) -> Result<Region, AttachError> {
        let len = mapping::file_len(fd).map_err(AttachError::Io)?;
        if len < PAGE {
            return Err(AttachError::NotARegion);
        }
        let head = Mapping::of_file(fd, PAGE, Access::SharedReadOnly).map_err(AttachError::Io)?;
        // SAFETY: the mapping holds a whole page, `Header` is plain data and smaller than that.
        let header = unsafe { &*head.base().cast::<Header>() };
        if header.magic != MAGIC {
            return Err(AttachError::NotARegion);
        }
        if header.version != VERSION {
            return Err(AttachError::Version(header.version));
        }
        let layout = Layout::of_capacity(header.capacity).ok_or(AttachError::Size)?;
        if layout.total != len {
            return Err(AttachError::Size);
        }
        let mapping = Mapping::of_file(fd, len, Access::Shared).map_err(AttachError::Io)?;
        Ok(Region { mapping, layout })
    }

    /// Puts `twin` in this region's place: its pages lie at this region's address from then on, and
    /// whoever counts here counts there. What stood here is gone for this process. Nothing changes
    /// when there is an error.
    ///
    /// # Errors
    /// What `mremap(2)` reports.
    ///
    /// # Panics
    /// When `twin` has another layout.
    pub fn replace_by(&self, twin: &Region) -> io::Result<()> {
        assert_eq!(twin.layout, self.layout, "a region is replaced by one of its own size");
        self.mapping.replace_by(&twin.mapping)
    }

    fn initialise(mapping: Mapping, layout: Layout, token: u64, mode: u32) -> io::Result<Region> {
        let region = Region { mapping, layout };
        let header = region.mapping.base().cast::<Header>();
        // SAFETY: the mapping is fresh, zeroed, larger than a header and not yet shared.
        unsafe {
            (*header).version = VERSION;
            (*header).capacity = layout.capacity;
            (*header).token = token;
            (*header).mode = mode;
            (*header).next_edge = AtomicU32::new(PAGE as u32);
            *region.counters() = u8::MAX;
            crate::modules::make_lock(header)?;
            // Last, so that whoever opens a region by its name meanwhile sees that it is none yet.
            std::sync::atomic::fence(Ordering::Release);
            (*header).magic = MAGIC;
        }
        Ok(region)
    }

    /// The header. Its atomic fields may change at any time.
    #[inline]
    pub fn header(&self) -> &Header {
        // SAFETY: the mapping holds at least a page and lives as long as `self`.
        unsafe { &*self.mapping.base().cast::<Header>() }
    }

    /// Where everything lies.
    #[inline]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The first counter: that of edge 0, which is nowhere.
    #[inline]
    pub fn counters(&self) -> *mut u8 {
        // SAFETY: the offset lies within the mapping.
        unsafe { self.mapping.base().add(self.layout.counters) }
    }

    /// The first flag: that of edge 0, which is nowhere.
    #[inline]
    pub fn flags(&self) -> *mut u8 {
        // SAFETY: the offset lies within the mapping.
        unsafe { self.mapping.base().add(self.layout.flags) }
    }

    /// The journal, as many entries as there are edges.
    #[inline]
    pub fn journal(&self) -> &[AtomicU32] {
        // SAFETY: the offset is a multiple of 4 and the array lies within the mapping.
        unsafe {
            std::slice::from_raw_parts(
                self.mapping.base().add(self.layout.journal).cast::<AtomicU32>(),
                self.layout.capacity as usize,
            )
        }
    }

    /// The comparison log.
    #[inline]
    pub fn comparisons(&self) -> &comparisons::Log {
        // SAFETY: the offset is a multiple of a page, the log lies within the mapping, and any bytes
        // are a valid log.
        unsafe { &*self.mapping.base().add(self.layout.comparisons).cast() }
    }

    /// The module table's first record.
    #[inline]
    pub fn records(&self) -> *mut ModuleRecord {
        // SAFETY: the offset lies within the mapping.
        unsafe { self.mapping.base().add(PAGE).cast() }
    }

    /// How many records are ready, never more than the table holds.
    #[inline]
    pub fn module_count(&self) -> usize {
        (self.header().module_count.load(Ordering::Acquire) as usize).min(MODULES)
    }

    /// Has the next drain look at every edge of guards, as after an overflow. To be called while, or
    /// right after, somebody counts who does not wait for drains: a thread that read a counter before
    /// it was cleared and writes it after, or died before it wrote its entry, leaves a count that
    /// stands in no journal, and as it is not 0, never will.
    pub fn distrust_journal(&self) {
        self.header().journal_len.store(DISTRUSTED, Ordering::Relaxed);
    }

    /// Pushes an edge that was just touched for the first time. Never blocks; past the capacity the
    /// entry is lost and the length says so.
    #[inline]
    pub fn push_journal(&self, edge: u32) {
        let at = self.header().journal_len.fetch_add(1, Ordering::Relaxed);
        if let Some(entry) = self.journal().get(at as usize) {
            entry.store(edge, Ordering::Relaxed);
        }
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("a map holds at most {MAX_EDGES} edges"))
}

/// A number that tells one region from another: time and process, mixed.
pub fn fresh_token() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    let mix = now ^ (u64::from(std::process::id()) << 40) ^ COUNT.fetch_add(1, Ordering::Relaxed);
    mix.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn layout_is_golden() {
        let layout = Layout::for_edges(10_000).unwrap();
        assert_eq!(layout.capacity, 16_384);
        assert_eq!(layout.counters, 4096 + 1024 * 1024);
        assert_eq!(layout.flags, layout.counters + 16_384 + 2048);
        assert_eq!(layout.journal, layout.flags + 16_384 + 2048);
        assert_eq!(layout.comparisons, layout.journal + 4 * 16_384);
        assert_eq!(layout.total, layout.comparisons + 4096 + 64 + 80 * 16_384 + 4032);
        assert_eq!(Layout::for_edges(MAX_EDGES + 1), None);
    }

    #[test]
    fn attach_sees_what_the_maker_wrote() {
        let (fd, region) = Region::create(5000, 7, MODE_ENGINE).unwrap();
        region.push_journal(4100);
        let other = Region::attach(fd.as_fd(), 7).unwrap();
        assert_eq!(other.header().journal_len.load(Ordering::Relaxed), 1);
        assert_eq!(other.journal()[0].load(Ordering::Relaxed), 4100);
        assert!(matches!(Region::attach(fd.as_fd(), 8), Err(AttachError::Token)));
    }

    #[test]
    fn a_twin_takes_the_place_of_a_region() {
        let here = Region::private(5000).unwrap();
        let (_fd, twin) = Region::create(5000, 7, 0).unwrap();
        here.replace_by(&twin).unwrap();
        here.push_journal(4100);
        assert_eq!((here.header().token, twin.journal()[0].load(Ordering::Relaxed)), (7, 4100));
    }

    #[test]
    fn attach_refuses_what_is_no_region() {
        let short = mapping::memory_file(c"t", 100).unwrap();
        assert!(matches!(Region::attach(short.as_fd(), 0), Err(AttachError::NotARegion)));
        let zero = mapping::memory_file(c"t", 1 << 20).unwrap();
        assert!(matches!(Region::attach(zero.as_fd(), 0), Err(AttachError::NotARegion)));
    }

    #[test]
    fn attach_refuses_a_capacity_that_lies() {
        let (fd, region) = Region::create(5000, 7, 0).unwrap();
        for lie in [0, 1, 4096, 8192 * 1024, u32::MAX] {
            // SAFETY: the header is mapped and writable, and nobody else looks at it.
            unsafe { (*region.mapping.base().cast::<Header>()).capacity = lie };
            assert!(matches!(Region::attach(fd.as_fd(), 7), Err(AttachError::Size)), "capacity {lie}");
        }
    }

    #[test]
    fn comparisons_are_read_as_far_as_they_can_be_believed() {
        let region = Region::private(1).unwrap();
        let log = region.comparisons();
        assert_eq!(log.entries(), []);
        log.count.store(u32::MAX, Ordering::Relaxed);
        let foreign = log.entries();
        assert_eq!(foreign.len(), comparisons::ENTRIES);
        assert_eq!(foreign[0].left(), b"");
        let lying = comparisons::Comparison { left_len: 255, ..foreign[0] };
        assert_eq!(lying.left().len(), comparisons::OPERAND);
        log.sites[7].store(9, Ordering::Relaxed);
        log.clear();
        assert_eq!((log.entries().len(), log.sites[7].load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn journal_overflow_loses_entries_and_says_so() {
        let region = Region::private(1).unwrap();
        let capacity = region.layout().capacity;
        for _ in 0..capacity + 3 {
            region.push_journal(4097);
        }
        assert_eq!(region.header().journal_len.load(Ordering::Relaxed), capacity + 3);
    }
}
