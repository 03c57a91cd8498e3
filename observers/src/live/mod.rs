//! A live map, and the LibAFL observers that read it.
//!
//! In the order of the data: a [`LiveMap`] is the region of this process, of a child, or of a process
//! that somebody else started; [`EdgeObserver`] takes out of it what a run touched, at the cost of
//! what was touched; [`ComparisonObserver`] reads what a run compared; [`LiveMap::stock_observer`]
//! lends the same memory to LibAFL's own parts. Owns the mapping and the rule that a map has one
//! reader. Starts no process.
//!
//! ```no_run
//! use hitmap_observers::{EdgeObserver, History, LiveMap, NoveltyFeedback};
//!
//! let map = LiveMap::of_this_process(1 << 20)?;
//! let edges = EdgeObserver::new("edges", &map)?;
//! let feedback = NoveltyFeedback::new(&edges, History::new(map.capacity())?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod comparisons;
mod functions;
mod observer;
mod process;
mod run;
mod saved;
mod stock;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hitmap_wire::control::{MAP_VARIABLE, map_variable};
use hitmap_wire::modules::{self, Module, Refusal};
use hitmap_wire::named::{self, MapName};
use hitmap_wire::region::{AttachError, MODE_ENGINE, Region, fresh_token};

pub use comparisons::ComparisonObserver;
pub use observer::EdgeObserver;
pub use run::Run;

use crate::places::PlacesError;

/// A region, open for reading. Clones are the same map.
#[derive(Clone, Debug)]
pub struct LiveMap(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    region: Region,
    origin: Origin,
    /// Whether the target may count while the map is read.
    running: bool,
    taken: AtomicBool,
}

#[derive(Debug)]
enum Origin {
    Here(process::Runtime),
    Children(OwnedFd),
    Named(MapName),
}

/// Why there is no map, or it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// No runtime in this process.
    #[error(
        "hitmap's runtime is not in this process: link libhitmap_rt.so, as `hitmap flags` shows, or put its folder \
         into LD_LIBRARY_PATH"
    )]
    NoRuntime,
    /// The runtime in this process speaks another ABI.
    #[error("the runtime in this process speaks ABI {0}, these observers speak {own}: use the same hitmap for both", own = process::ABI_VERSION)]
    Abi(u32),
    /// What the runtime's function gave.
    #[error("the runtime cannot make a map for {edges} edges (code {code})")]
    Runtime {
        /// Edges that were asked for.
        edges: u32,
        /// One of `hitmap.h`'s.
        code: i32,
    },
    /// The region cannot be mapped.
    #[error("{0}")]
    Attach(#[from] AttachError),
    /// The system refuses memory.
    #[error("no memory for a map: {0}")]
    Memory(#[from] std::io::Error),
    /// Not a name of a shared memory object.
    #[error("{0:?} cannot name a map: it takes a slash and then letters, at most 250 and no other slash")]
    Name(String),
    /// Somebody reads the map already.
    #[error("this map has an observer already, and one would clear what the other should see")]
    Taken,
    /// A library did not fit.
    #[error("{module} brings {edges} edges, which do not fit into the map: {refusal}")]
    Full {
        /// Its file name.
        module: String,
        /// How many edges it has.
        edges: u32,
        /// What is left, and what is needed.
        refusal: Refusal,
    },
    /// Functions cannot be told apart.
    #[error("no map of functions: {0}")]
    Places(#[from] PlacesError),
}

impl LiveMap {
    /// The map of this process, for a harness that calls an instrumented library: what is counted here
    /// goes into it from now on, and libraries that are loaded later join. `edges` is its capacity, for
    /// good; each library takes a multiple of 4096, and untouched edges cost no memory.
    ///
    /// To be called before other threads run instrumented code.
    ///
    /// # Errors
    /// [`MapError::NoRuntime`], [`MapError::Abi`], [`MapError::Runtime`], [`MapError::Attach`].
    pub fn of_this_process(edges: u32) -> Result<LiveMap, MapError> {
        let (runtime, region) = process::share_map(edges)?;
        Ok(LiveMap::new(region, Origin::Here(runtime), false))
    }

    /// A map for children: processes that are started with [`LiveMap::variable`] in their environment
    /// count into it. Its descriptor is inherited by every child of this process.
    ///
    /// # Errors
    /// [`MapError::Memory`].
    pub fn of_children(edges: u32) -> Result<LiveMap, MapError> {
        let (fd, region) = Region::create(edges, fresh_token(), MODE_ENGINE)?;
        process::inherit(&fd)?;
        Ok(LiveMap::new(region, Origin::Children(fd), false))
    }

    /// The map of that POSIX name, made when there is none: for a target that somebody else starts, with
    /// `HITMAP_MAP=/name`, and may start again. Libraries keep their edges' numbers over restarts. It is
    /// read as [`LiveMap::running`] says, and stays until [`LiveMap::remove`].
    ///
    /// # Errors
    /// [`MapError::Name`], and [`MapError::Attach`] for an object of that name that is no map, is too
    /// small, or belongs to another user.
    pub fn named(name: &str, edges: u32) -> Result<LiveMap, MapError> {
        let name = MapName::new(name).ok_or_else(|| MapError::Name(name.to_owned()))?;
        let region = named::open_or_create(&name, edges, MODE_ENGINE)?;
        Ok(LiveMap::new(region, Origin::Named(name), true))
    }

    fn new(region: Region, origin: Origin, running: bool) -> LiveMap {
        LiveMap(Arc::new(Inner { region, origin, running, taken: AtomicBool::new(false) }))
    }

    /// For a target of which threads run on between inputs: reads so that nothing is lost that is
    /// counted meanwhile. That looks at every edge, where a target that stands still is read by its
    /// journal or by whole blocks.
    ///
    /// # Errors
    /// [`MapError::Taken`] when the map was cloned or has an observer.
    pub fn running(self) -> Result<LiveMap, MapError> {
        let inner = Arc::into_inner(self.0).ok_or(MapError::Taken)?;
        Ok(LiveMap(Arc::new(Inner { running: true, ..inner })))
    }

    /// Name and value of the environment variable by which a process joins this map; `None` for the map
    /// of this process.
    pub fn variable(&self) -> Option<(&'static str, String)> {
        let value = match &self.0.origin {
            Origin::Here(_) => return None,
            Origin::Children(fd) => map_variable(fd.as_raw_fd(), self.region().header().token),
            Origin::Named(name) => name.as_str().to_owned(),
        };
        Some((MAP_VARIABLE, value))
    }

    /// Removes the map's name, so that nobody can join it any more. Does nothing for maps without one.
    ///
    /// # Errors
    /// [`MapError::Memory`] with what the system reports, as when it is gone already.
    pub fn remove(&self) -> Result<(), MapError> {
        match &self.0.origin {
            Origin::Named(name) => Ok(named::remove(name)?),
            _ => Ok(()),
        }
    }

    /// How many edges fit; what a [`crate::history::History`] of it is made for.
    pub fn capacity(&self) -> u32 {
        self.region().layout().capacity
    }

    /// The libraries that count, in the order in which they came.
    pub fn modules(&self) -> Vec<Module> {
        modules::all(self.region()).into_iter().filter(|module| !module.is_refused()).collect()
    }

    /// Edges of all libraries that count.
    pub fn edges(&self) -> u64 {
        self.modules().iter().map(|module| u64::from(module.edges)).sum()
    }

    /// Edges that were handed out so far, gaps included: the length of the map as LibAFL sees it.
    pub fn len(&self) -> usize {
        let next = self.region().header().next_edge.load(Ordering::Acquire);
        (next.min(self.capacity()) as usize).max(hitmap_wire::PAGE)
    }

    /// Never: the first page of edges is nobody's.
    pub fn is_empty(&self) -> bool {
        false
    }

    fn region(&self) -> &Region {
        &self.0.region
    }

    /// Brings counters that live outside of the map into it, where that can be done from here.
    fn gather(&self) {
        if let Origin::Here(runtime) = &self.0.origin {
            runtime.gather();
        }
    }

    /// The right to clear the map, until it is dropped.
    fn reader(&self) -> Result<Reader, MapError> {
        match self.0.taken.swap(true, Ordering::AcqRel) {
            true => Err(MapError::Taken),
            false => Ok(Reader(self.clone())),
        }
    }

    /// The error for a library that did not fit, if there is one.
    fn refused(&self) -> Option<MapError> {
        let module = modules::all(self.region()).into_iter().find(Module::is_refused)?;
        let refusal = modules::full(self.region());
        Some(MapError::Full { module: module.name().to_owned(), edges: module.edges, refusal })
    }
}

/// A map, and the only right to clear it.
#[derive(Debug)]
struct Reader(LiveMap);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.0.taken.store(false, Ordering::Release);
    }
}
