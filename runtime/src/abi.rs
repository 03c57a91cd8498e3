//! The C ABI: the functions of `runtime/include/hitmap.h`, and the table behind them.
//!
//! Every exported function goes through a table, which is this runtime's own, or that of the one
//! that was in the process first. Behind the table each function takes the lock, brings the list of
//! libraries up to date, and works; a panic becomes the value for "nothing".

use std::ffi::c_int;
use std::os::fd::IntoRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

use hitmap_wire::class;
use hitmap_wire::identity;
use hitmap_wire::region::{Region, fresh_token};

use crate::control::Control;
use crate::process::{self, Follower, Process};
use crate::{exported, late, memcov, register, saved, twin, view};

/// `HITMAP_ABI_VERSION`.
pub const ABI_VERSION: u32 = 1;
/// The version of [`Table`].
pub const TABLE_VERSION: u32 = 1;

const OK: c_int = 0;
/// `HITMAP_E_EMPTY`.
pub const E_EMPTY: c_int = -1;
/// `HITMAP_E_SIZE`.
pub const E_SIZE: c_int = -2;
const E_ATTACH: c_int = -3;
const E_MEMORY: c_int = -4;
/// `HITMAP_E_BUILD`.
pub const E_BUILD: c_int = -5;

/// One instrumented library, as `struct hitmap_module` in `hitmap.h`.
#[repr(C)]
pub struct ModuleInfo {
    identity: [u8; 32],
    identity_len: u32,
    kind: u32,
    first: u64,
    edges: u32,
    refused: u32,
    hits: u32,
    reserved: u32,
    path: [u8; 1024],
}

const _: () = assert!(size_of::<ModuleInfo>() == 1088);

/// What one runtime offers another that was loaded after it. Append-only.
#[repr(C)]
#[allow(missing_docs, reason = "each field is the exported function of the same name, which is documented")]
pub struct Table {
    pub version: u32,
    pub size: u32,
    pub register: extern "C" fn(*mut Control) -> c_int,
    pub announce: extern "C" fn(u32, *mut u8, *mut u8),
    pub attach: extern "C" fn(c_int, u64) -> c_int,
    pub total: extern "C" fn() -> u64,
    pub hits: extern "C" fn() -> u64,
    pub reset: extern "C" fn(),
    pub push: extern "C" fn() -> c_int,
    pub pop: extern "C" fn() -> c_int,
    pub copy: extern "C" fn(*mut u8, usize) -> usize,
    pub restore: extern "C" fn(*const u8, usize) -> c_int,
    pub merge: extern "C" fn(*const u8, usize) -> c_int,
    pub modules: extern "C" fn(*mut ModuleInfo, usize) -> usize,
    pub gather: extern "C" fn(),
    pub follow: extern "C" fn(Follower),
    pub memcov: &'static memcov::Calls,
    pub serialize: extern "C" fn(*mut u8, usize) -> usize,
    pub deserialize: extern "C" fn(*const u8, usize) -> c_int,
    pub twin: extern "C" fn(*mut u64) -> c_int,
    pub enter: extern "C" fn(c_int, u64) -> c_int,
}

static OWN: Table = Table {
    version: TABLE_VERSION,
    size: size_of::<Table>() as u32,
    register,
    announce: exported::announce,
    attach,
    total,
    hits,
    reset,
    push,
    pop,
    copy,
    restore,
    merge,
    modules,
    gather,
    follow,
    memcov: &memcov::OWN,
    serialize,
    deserialize,
    twin: make_twin,
    enter,
};

/// 1 once this runtime has found that it is the first of its process.
pub static OWN_ACTIVE: AtomicU32 = AtomicU32::new(0);

/// The table that calls go through.
#[inline]
pub fn table() -> &'static Table {
    late::first().unwrap_or(&OWN)
}

/// Runs `work` under the lock; `otherwise` when it panics.
pub fn locked<T>(otherwise: T, work: impl FnOnce(&mut Process) -> T) -> T {
    catch_unwind(AssertUnwindSafe(|| work(&mut process::lock()))).unwrap_or(otherwise)
}

/// [`locked`], with the list of libraries up to date.
pub fn fresh<T>(otherwise: T, work: impl FnOnce(&mut Process) -> T) -> T {
    locked(otherwise, |process| {
        late::refresh(process);
        work(process)
    })
}

/// [`fresh`], with everything that was counted taken into the view.
pub fn swept<T>(otherwise: T, work: impl FnOnce(&mut Process) -> T) -> T {
    fresh(otherwise, |process| {
        view::sweep(process);
        work(process)
    })
}

extern "C" fn register(control: *mut Control) -> c_int {
    if control.is_null() {
        return E_SIZE;
    }
    locked(E_MEMORY, |process| {
        // SAFETY: only our stub calls this, with its library's control block.
        unsafe { register::join_control(process, control) };
        OK
    })
}

/// What a library's destructor calls, by its control block.
pub extern "C" fn library_leaves(control: *mut Control) {
    fresh((), |process| register::leave(process, control));
}

extern "C" fn attach(fd: c_int, token: u64) -> c_int {
    let Some(Ok(region)) = process::attach(fd, token) else { return E_ATTACH };
    locked(E_MEMORY, |process| {
        let same = process.live_now().is_some_and(|live| live.shared && live.region.header().token == token);
        if same {
            return OK;
        }
        late::refresh(process);
        view::sweep(process);
        process.use_region(region, true);
        for at in 0..process.parts.len() {
            register::enter(process, at);
        }
        OK
    })
}

extern "C" fn make_twin(token: *mut u64) -> c_int {
    if token.is_null() {
        return E_SIZE;
    }
    fresh(E_MEMORY, |process| match twin::twin(process) {
        Ok((fd, named)) => {
            // SAFETY: the caller gives a writable word.
            unsafe { token.write(named) };
            fd.into_raw_fd()
        }
        Err(_) => E_MEMORY,
    })
}

extern "C" fn enter(fd: c_int, token: u64) -> c_int {
    let Some(Ok(region)) = process::attach(fd, token) else { return E_ATTACH };
    locked(E_MEMORY, |process| match twin::enter(process, &region) {
        Ok(()) => OK,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => E_SIZE,
        Err(_) => E_MEMORY,
    })
}

extern "C" fn total() -> u64 {
    fresh(0, |process| process.view.classes().len() as u64)
}

extern "C" fn hits() -> u64 {
    swept(0, |process| process.view.hits())
}

extern "C" fn reset() {
    swept((), |process| process.view.clear());
}

extern "C" fn push() -> c_int {
    swept(E_MEMORY, |process| {
        process.view.push();
        OK
    })
}

extern "C" fn pop() -> c_int {
    swept(E_MEMORY, |process| if process.view.pop() { OK } else { E_EMPTY })
}

extern "C" fn copy(classes: *mut u8, len: usize) -> usize {
    swept(0, |process| {
        let all = process.view.classes();
        if !classes.is_null() {
            // SAFETY: the caller gives `len` writable bytes, and no more than that is written.
            unsafe { std::ptr::copy_nonoverlapping(all.as_ptr(), classes, len.min(all.len())) };
        }
        all.len()
    })
}

extern "C" fn restore(classes: *const u8, len: usize) -> c_int {
    with_classes(classes, len, |process, classes| {
        process.view.clear();
        process.view.merge(classes);
    })
}

extern "C" fn merge(classes: *const u8, len: usize) -> c_int {
    with_classes(classes, len, |process, classes| process.view.merge(classes))
}

fn with_classes(classes: *const u8, len: usize, work: impl FnOnce(&mut Process, &[u8])) -> c_int {
    swept(E_MEMORY, |process| {
        if len > process.view.classes().len() || (classes.is_null() && len > 0) {
            return E_SIZE;
        }
        // SAFETY: the caller gives `len` readable bytes; an empty slice needs no memory.
        let given = if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(classes, len) } };
        work(process, given);
        OK
    })
}

extern "C" fn serialize(bytes: *mut u8, len: usize) -> usize {
    swept(0, |process| {
        let size = saved::size(process);
        if size <= len && !bytes.is_null() {
            // SAFETY: the caller gives `len` writable bytes, and no more than that is written.
            saved::write(process, unsafe { std::slice::from_raw_parts_mut(bytes, size) });
        }
        size
    })
}

extern "C" fn deserialize(bytes: *const u8, len: usize) -> c_int {
    swept(E_MEMORY, |process| {
        if bytes.is_null() || isize::try_from(len).is_err() {
            return E_SIZE;
        }
        // SAFETY: the caller gives `len` readable bytes.
        let given = unsafe { std::slice::from_raw_parts(bytes, len) };
        saved::merge(process, given).err().unwrap_or(OK)
    })
}

extern "C" fn modules(out: *mut ModuleInfo, max: usize) -> usize {
    swept(0, |process| {
        if !out.is_null() {
            for (at, part) in process.parts.iter().take(max).enumerate() {
                // SAFETY: the caller gives room for `max` modules.
                unsafe { out.add(at).write(describe(process, part)) };
            }
        }
        process.parts.len()
    })
}

fn describe(process: &Process, part: &register::Part) -> ModuleInfo {
    let classes = process.view.classes();
    let own = part.first.and_then(|first| classes.get(first..first + part.edges as usize)).unwrap_or(&[]);
    let mut info = ModuleInfo {
        identity: [0; identity::LEN],
        identity_len: part.identity.as_bytes().len() as u32,
        kind: part.kind,
        first: part.first.unwrap_or(classes.len()) as u64,
        edges: part.edges,
        refused: u32::from(!part.counted()),
        hits: own.iter().filter(|c| class::rank(**c) != 0).count() as u32,
        reserved: 0,
        path: [0; 1024],
    };
    info.identity[..part.identity.as_bytes().len()].copy_from_slice(part.identity.as_bytes());
    // A path that is too long keeps its end, as in the module table.
    let path = part.path.as_bytes();
    let kept = &path[path.len().saturating_sub(info.path.len() - 1)..];
    info.path[..kept.len()].copy_from_slice(kept);
    info
}

extern "C" fn gather() {
    locked((), |process| {
        let Some(live) = process.live_now() else { return };
        // The usual case costs the lock and no look at the loader.
        if process.pending.is_empty() && !view::must_gather(&process.parts, live) {
            return;
        }
        late::refresh(process);
        view::gather(&process.parts, live);
    });
}

/// The first runtime tells the second where its guards count, now and after every change.
extern "C" fn follow(follower: Follower) {
    locked((), |process| {
        process.followers.push(follower);
        if let Some(live) = process.live() {
            // SAFETY: planes are leaked.
            unsafe { follower(live.plane) };
        }
    });
}

/// The table, for a runtime that is loaded after this one; null while this one is not at work.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_runtime_table() -> *const Table {
    if OWN_ACTIVE.load(Ordering::Acquire) == 1 { &raw const OWN } else { std::ptr::null() }
}

/// A library with our stub joins. Called from its constructor; harmless when called again.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_register_library(control: *mut Control) -> c_int {
    (table().register)(control)
}

/// `HITMAP_ABI_VERSION` of the library.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_version() -> u32 {
    ABI_VERSION
}

/// Makes a map that other processes can attach; returns its descriptor, which is closed on exec, and
/// writes the token that names it.
///
/// # Safety
/// `token` must be writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitmap_create(edges: u32, token: *mut u64) -> c_int {
    if token.is_null() || edges == 0 {
        return E_SIZE;
    }
    let made = catch_unwind(|| {
        let named = fresh_token();
        Region::create(edges, named, 0).map(|(fd, _)| (fd.into_raw_fd(), named))
    });
    match made {
        Ok(Ok((fd, named))) => {
            // SAFETY: the caller's word.
            unsafe { token.write(named) };
            fd
        }
        _ => E_MEMORY,
    }
}

/// Joins the region behind a descriptor, which the token names; counts so far move along. To be
/// called while no other thread runs instrumented code, as right after a fork.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_attach(fd: c_int, token: u64) -> c_int {
    (table().attach)(fd, token)
}

/// Makes an empty map of the size of this process's, for a child; returns its descriptor, which is
/// closed on exec, and writes the token that names it.
///
/// # Safety
/// `token` must be writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitmap_twin(token: *mut u64) -> c_int {
    (table().twin)(token)
}

/// Counts into a twin from now on, from nothing. To be called right after a fork, in the child.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_enter(fd: c_int, token: u64) -> c_int {
    (table().enter)(fd, token)
}

/// Edges known now; grows when an instrumented library is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_total() -> u64 {
    (table().total)()
}

/// Edges hit since the last reset, push or restore.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_hits() -> u64 {
    (table().hits)()
}

/// Forgets all hits of this process's view; those that were put aside stay.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_reset() {
    (table().reset)();
}

/// Puts the view aside and starts an empty one; nests without limit.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_push() -> c_int {
    (table().push)()
}

/// Merges the view that was put aside last into the current one.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_pop() -> c_int {
    (table().pop)()
}

/// Copies min(len, total) classes; returns total.
///
/// # Safety
/// `classes` must be null or writable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitmap_copy(classes: *mut u8, len: usize) -> usize {
    (table().copy)(classes, len)
}

/// Replaces the view; `len` must not exceed the total, missing edges are not hit.
///
/// # Safety
/// `classes` must be readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitmap_restore(classes: *const u8, len: usize) -> c_int {
    (table().restore)(classes, len)
}

/// Merges into the view, the larger class of each edge; `len` as for restore.
///
/// # Safety
/// `classes` must be readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitmap_merge(classes: *const u8, len: usize) -> c_int {
    (table().merge)(classes, len)
}

/// Writes the view as bytes for another process, if they fit; returns how many bytes that takes.
///
/// # Safety
/// `bytes` must be null or writable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitmap_serialize(bytes: *mut u8, len: usize) -> usize {
    (table().serialize)(bytes, len)
}

/// Merges what another process serialized; all of it or, on an error, nothing.
///
/// # Safety
/// `bytes` must be readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitmap_deserialize(bytes: *const u8, len: usize) -> c_int {
    (table().deserialize)(bytes, len)
}

/// Fills up to `max` modules; returns how many there are.
///
/// # Safety
/// `out` must be null or have room for `max` modules.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitmap_modules(out: *mut ModuleInfo, max: usize) -> usize {
    (table().modules)(out, max)
}

/// Carries counters that could not be moved onto the region over into it; cheap when there are
/// none. A worker calls it after each input.
#[unsafe(no_mangle)]
pub extern "C" fn hitmap_gather() {
    (table().gather)();
}
