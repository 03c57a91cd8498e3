//! The one region of this process, and the lock that all but the callbacks take.
//!
//! The region is made on first need: the one that `HITMAP_MAP` names, or a private one. A private
//! region is copied by fork; a shared one stays shared. A region is never unmapped, because a
//! thread may be counting into it.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::os::fd::{BorrowedFd, RawFd};

use hitmap_wire::control::{MAP_VARIABLE, NamedMap, parse_map_variable};
use hitmap_wire::identity::Identity;
use hitmap_wire::named;
use hitmap_wire::region::{AttachError, DEFAULT_EDGES, Region};

use crate::guards::{self, Plane};
use crate::register::{Arrays, Part};
use crate::view::View;
use crate::{memcov, say};

/// What is tried when the default size is refused (a target under `ulimit -v`).
const SMALL_EDGES: u32 = 1 << 17;

/// Everything the runtime knows of this process.
pub struct Process {
    live: Option<Live>,
    tried: bool,
    /// Libraries, in order of registration.
    pub parts: Vec<Part>,
    /// What this process sees as hit.
    pub view: View,
    /// Arrays of libraries without our stub that were announced one by one, and whose they are.
    pub pending: Vec<(Identity, Arrays)>,
    /// Second copies of the runtime whose callback must count where ours does.
    pub followers: Vec<Follower>,
    /// The loader's counts of loaded and unloaded libraries when we looked last.
    pub loader: (u64, u64),
    /// What memcov's callers said, and were told.
    pub memcov: memcov::State,
}

/// Told of every plane that goes live; called with planes that are never freed.
pub type Follower = unsafe extern "C" fn(*const Plane);

/// The region in use.
#[derive(Clone, Copy)]
pub struct Live {
    /// It.
    pub region: &'static Region,
    /// Whether another process may read it.
    pub shared: bool,
    /// Where guards count.
    pub plane: &'static Plane,
}

impl Process {
    const fn new() -> Process {
        Process {
            live: None,
            tried: false,
            parts: Vec::new(),
            view: View::new(),
            pending: Vec::new(),
            followers: Vec::new(),
            loader: (0, 0),
            memcov: memcov::State::NEW,
        }
    }

    /// The region in use, made now if there is none; `None` when the system refuses the memory.
    pub fn live(&mut self) -> Option<Live> {
        if !self.tried {
            self.tried = true;
            if let Some((region, shared)) = first_region() {
                self.use_region(region, shared);
            }
        }
        self.live
    }

    /// The region in use, if one was needed so far.
    pub fn live_now(&self) -> Option<Live> {
        self.live
    }

    /// The region in use has become one that another process reads.
    pub fn now_shared(&mut self) {
        if let Some(live) = &mut self.live {
            live.shared = true;
        }
    }

    /// Makes `region` the one in use. Libraries must enter it afterwards.
    pub fn use_region(&mut self, region: Region, shared: bool) {
        self.tried = true;
        let region: &'static Region = Box::leak(Box::new(region));
        let plane = Plane::of(region);
        // Guards still carry numbers of the old region: they count nowhere until they are numbered
        // anew, and only then may the new plane, which can be smaller, go live.
        for part in self.parts.iter().filter(|part| part.alive && !part.guards.is_null()) {
            // SAFETY: a living part's guards are mapped.
            unsafe { guards::number(part.guards, part.edges, 0) };
        }
        guards::publish(plane);
        for follower in &self.followers {
            // SAFETY: planes are leaked.
            unsafe { follower(plane) };
        }
        self.live = Some(Live { region, shared, plane });
    }
}

fn first_region() -> Option<(Region, bool)> {
    if let Some(region) = named_region() {
        return Some((region, true));
    }
    let made = Region::private(DEFAULT_EDGES).or_else(|_| Region::private(SMALL_EDGES));
    match made {
        Ok(region) => Some((region, false)),
        Err(error) => {
            say::line(format_args!("no memory for a map ({error}): nothing is counted in this process"));
            None
        }
    }
}

/// The region that the environment names. Grandchildren inherit the variable but not the
/// descriptor, so a closed descriptor is ordinary and silent.
fn named_region() -> Option<Region> {
    let value = std::env::var(MAP_VARIABLE).ok()?;
    let found = match parse_map_variable(&value) {
        None => {
            say::line(format_args!("{MAP_VARIABLE}={value} is neither fd:NUMBER:TOKEN nor /NAME; counting privately"));
            return None;
        }
        Some(NamedMap::Descriptor(fd, token)) => attach(fd, token)?,
        Some(NamedMap::Name(name)) => named::open(&name),
    };
    found.inspect_err(|error| say::line(format_args!("{MAP_VARIABLE}={value}: {error}; counting privately"))).ok()
}

/// Maps the region behind `fd`; `None` when there is no such descriptor.
pub fn attach(fd: RawFd, token: u64) -> Option<Result<Region, AttachError>> {
    // SAFETY: asks about a number; any is allowed.
    if fd < 0 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the descriptor is open, and only borrowed for the call.
    Some(Region::attach(unsafe { BorrowedFd::borrow_raw(fd) }, token))
}

struct Locked {
    lock: UnsafeCell<libc::pthread_mutex_t>,
    process: UnsafeCell<Process>,
}

// SAFETY: `process` is only reached through `Guard`, which holds `lock`.
unsafe impl Sync for Locked {}

static PROCESS: Locked =
    Locked { lock: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER), process: UnsafeCell::new(Process::new()) };

/// The process's state, locked.
pub struct Guard(());

/// Waits for the lock.
pub fn lock() -> Guard {
    // SAFETY: the mutex is initialised and never moves.
    unsafe { libc::pthread_mutex_lock(PROCESS.lock.get()) };
    Guard(())
}

impl Deref for Guard {
    type Target = Process;
    fn deref(&self) -> &Process {
        // SAFETY: this guard holds the lock.
        unsafe { &*PROCESS.process.get() }
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Process {
        // SAFETY: this guard holds the lock, and is borrowed mutably.
        unsafe { &mut *PROCESS.process.get() }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        unlock();
    }
}

extern "C" fn before_fork() {
    std::mem::forget(lock());
}

extern "C" fn unlock() {
    // SAFETY: whoever calls this took the lock: a guard, or `before_fork` on the same thread.
    unsafe { libc::pthread_mutex_unlock(PROCESS.lock.get()) };
}

/// Makes sure that no forked child starts with the lock held by a thread it does not have.
pub fn survive_fork() {
    // SAFETY: the handlers live as long as the runtime, which is never unloaded.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(unlock), Some(unlock)) };
}
