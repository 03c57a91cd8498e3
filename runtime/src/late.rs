//! Meeting: at load the runtime looks for libraries that came before it, and for a runtime that did.
//!
//! A library with our stub carries a note (owner "hitmap", type 1) with the distance to its control
//! block, so a runtime that comes later, or that was loaded without making its symbols global, finds
//! it. Two runtimes in one process would each see a part, or nothing: the second says so and hands
//! every call to the first.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use hitmap_wire::identity;

use crate::abi::{self, Table};
use crate::control::{self, Control};
use crate::process::{self, Process};
use crate::{covmap, exported, guards, register, say};

const SONAME: &CStr = c"libhitmap_rt.so";
const MARKER: &CStr = c"hitmap_runtime_table";

/// The runtime that was there first, when it is not this one.
static FIRST: AtomicPtr<Table> = AtomicPtr::new(std::ptr::null_mut());

/// The table of the runtime that was there first, if that is another.
#[inline]
pub fn first() -> Option<&'static Table> {
    // SAFETY: the table is a static of a runtime that is never unloaded.
    unsafe { FIRST.load(Ordering::Acquire).as_ref() }
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    let _ = std::panic::catch_unwind(|| {
        covmap::open();
        if let Some(other) = other_runtime() {
            FIRST.store((&raw const *other).cast_mut(), Ordering::Release);
            (other.follow)(guards::publish_foreign);
            let path = |address: usize| {
                identity::holding(address).map_or_else(String::new, |l| String::from_utf8_lossy(&l.path).into_owned())
            };
            say::line(format_args!(
                "a second runtime was loaded, {}; {} goes on counting for both. Load only one",
                path(start as *const () as usize),
                path(other.total as usize),
            ));
            return;
        }
        abi::OWN_ACTIVE.store(1, Ordering::Release);
        process::survive_fork();
        refresh(&mut process::lock());
    });
}

/// A runtime that is already at work in this process: in the global scope, or by its soname.
fn other_runtime() -> Option<&'static Table> {
    // SAFETY: both names are C strings; RTLD_NOLOAD loads nothing.
    let found = unsafe {
        let handle = libc::dlopen(SONAME.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY);
        let by_name = if handle.is_null() { handle } else { libc::dlsym(handle, MARKER.as_ptr()) };
        [libc::dlsym(libc::RTLD_DEFAULT, MARKER.as_ptr()), by_name]
    };
    // Our own marker, when it is the one that is found, gives null: we are not at work yet. (Its
    // address would tell nothing: in our own code the name may already mean the other's.)
    for symbol in found.into_iter().filter(|s| !s.is_null()) {
        // SAFETY: only a hitmap runtime exports this name, as a function of this type.
        let table = unsafe {
            let get: extern "C" fn() -> *const Table = std::mem::transmute(symbol);
            get().as_ref()
        };
        if let Some(table) = table.filter(|t| t.version == abi::TABLE_VERSION) {
            return Some(table);
        }
    }
    None
}

/// Brings the list of libraries up to date when the loader has loaded or unloaded something since.
pub fn refresh(process: &mut Process) {
    forget_unloaded(process);
    exported::join_pending(process);
    let loads = loader().0;
    if loads == process.loader.0 {
        return;
    }
    process.loader.0 = loads;
    for control in controls() {
        // SAFETY: the note led to a block inside a loaded library; a block that is not yet
        // relocated is refused by its `this` field.
        unsafe { register::join_control(process, control) };
    }
}

/// How many libraries were loaded so far, and how many unloaded.
fn loader() -> (u64, u64) {
    let mut counts = (0, 0);
    identity::each_loaded(|info| {
        counts = (info.dlpi_adds, info.dlpi_subs);
        true
    });
    counts
}

/// A library without our stub, or older than the runtime, does not say that it goes. To be called
/// before anything joins: what joins may lie where one was that went.
pub fn forget_unloaded(process: &mut Process) {
    let unloads = loader().1;
    if unloads == process.loader.1 {
        return;
    }
    process.loader.1 = unloads;
    exported::forget_unloaded(process);
    for part in process.parts.iter_mut().filter(|part| part.alive) {
        let holder = identity::holding(part.address());
        if holder.is_none_or(|loaded| loaded.identity != part.identity) {
            part.alive = false;
            part.moved = false;
            part.control = std::ptr::null_mut();
        }
    }
}

/// The control blocks of all loaded libraries.
fn controls() -> Vec<*mut Control> {
    let mut found = Vec::new();
    identity::each_loaded(|info| {
        if info.dlpi_phdr.is_null() {
            return false;
        }
        // SAFETY: the loader gives an array of `dlpi_phnum` headers.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let start = |h: &libc::Elf64_Phdr| (info.dlpi_addr + h.p_vaddr) as usize;
        for note in headers.iter().filter(|h| h.p_type == libc::PT_NOTE) {
            // SAFETY: notes lie in a loaded, readable segment.
            let bytes = unsafe { std::slice::from_raw_parts(start(note) as *const u8, note.p_filesz as usize) };
            let Some(text) = identity::find_note(bytes, note.p_align, b"hitmap\0", 1) else { continue };
            let Ok(distance) = <[u8; 8]>::try_from(text) else { continue };
            let control = (text.as_ptr() as usize).wrapping_add_signed(i64::from_le_bytes(distance) as isize);
            let within = headers
                .iter()
                .filter(|h| h.p_type == libc::PT_LOAD)
                .any(|h| start(h) <= control && control + control::LEAST <= start(h) + h.p_memsz as usize);
            if within && control.is_multiple_of(align_of::<Control>()) {
                found.push(control as *mut Control);
            }
        }
        false
    });
    found
}
