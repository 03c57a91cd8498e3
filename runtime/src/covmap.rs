//! llvm-covmap's bitmap: one bit a function, set while the program runs, for any process to read.
//!
//! `LLVM_COVMAP_SHM_NAME` names a POSIX shared memory object, `LLVM_COVMAP_SHM_SIZE` its bytes (1 MiB
//! when absent). The object is the bitmap and nothing else; a function's bit is its id modulo the
//! number of bits, least significant first.
//!
//! Several processes may use one object. The one that creates it removes its name at a normal exit.
//! Those that join, and forked children, never remove, clear or resize it; after a crash it stays
//! for the reader, and a process that is started with the same name adds to it.
//!
//! Functions come from two sources: objects that llvm-covmap's pass built call
//! [`__llvm_covmap_hit_function`] with an id that is random in each build, and guards with an address
//! table (`-fsanitize-coverage=func,trace-pc-guard,pc-table`) are given an id here, which survives
//! rebuilds: XXH3 of the linkage name, behind `FILE:` for a local function, the source file's name as
//! the linker keeps it. The bit is set with an edge's first touch, so counting on costs nothing; our
//! stub is told to call here only where there is a bitmap.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU64, Ordering};

use hitmap_wire::mapping::{Access, Mapping, file_len};
use hitmap_wire::region::Region;

use crate::{process, register, say, symbols, xxh3};

const NAME: &str = "LLVM_COVMAP_SHM_NAME";
const SIZE: &str = "LLVM_COVMAP_SHM_SIZE";
const DEFAULT_SIZE: usize = 1 << 20;

static BITMAP: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
/// How many bits; 0 until there is a bitmap.
static BITS: AtomicU64 = AtomicU64::new(0);
/// The process that opened the bitmap, so that its forked children need not say what it will.
static OPENER: AtomicI32 = AtomicI32::new(0);

/// What this process created and must remove.
struct Created {
    name: CString,
    inode: u64,
    process: libc::pid_t,
}

static CREATED: Mutex<Option<Created>> = Mutex::new(None);

/// Maps the bitmap that the environment names. Without a name nothing is recorded.
pub fn open() {
    let Some(name) = std::env::var_os(NAME) else { return };
    let size = std::env::var_os(SIZE);
    let opened = size_in_bytes(size.as_deref().map(|text| text.to_string_lossy()).as_deref())
        .and_then(|size| open_named(name.as_bytes(), size));
    if let Err(text) = opened {
        say::line(format_args!("{NAME}={}: {text}; no functions are recorded", name.to_string_lossy()));
    }
}

fn size_in_bytes(text: Option<&str>) -> Result<usize, String> {
    let Some(text) = text else { return Ok(DEFAULT_SIZE) };
    match text.trim().parse::<usize>() {
        Ok(size) if size > 0 && size.is_multiple_of(8) && isize::try_from(size).is_ok() => Ok(size),
        _ => Err(format!("{SIZE}={text} is not a number of bytes that is a multiple of 8, such as {DEFAULT_SIZE}")),
    }
}

fn open_named(name: &[u8], size: usize) -> Result<(), String> {
    let name = CString::new(name).map_err(|_| "the name holds a NUL".to_owned())?;
    let failed = |what: &str, error: io::Error| format!("{what}: {error}");
    let (fd, created) = open_object(&name).map_err(|e| failed("shm_open", e))?;
    let inode = inode(&fd).map_err(|e| failed("fstat", e))?;
    if created {
        *created_here() = Some(Created { name, inode, process: own_pid() });
    }
    let len = sized(&fd, size).map_err(|e| failed(&format!("no room for {size} bytes"), e))?;
    if len != size {
        return Err(format!(
            "it has {len} bytes already, and {SIZE} says {size}: set {SIZE}={len}, or remove it (under /dev/shm)"
        ));
    }
    let mapping = Mapping::of_file(fd.as_fd(), size, Access::Shared).map_err(|e| failed("mmap", e))?;
    BITMAP.store(mapping.leak(), Ordering::Release);
    BITS.store(size as u64 * 8, Ordering::Release);
    OPENER.store(own_pid(), Ordering::Relaxed);
    Ok(())
}

/// Creates the object, or else opens the one that is there; true when it is new.
fn open_object(name: &CString) -> io::Result<(OwnedFd, bool)> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    // Again when somebody removes it between the two.
    for _ in 0..8 {
        for (flags, created, gone) in [(libc::O_CREAT | libc::O_EXCL, true, libc::EEXIST), (0, false, libc::ENOENT)] {
            // SAFETY: `name` is a C string.
            let fd = unsafe { libc::shm_open(name.as_ptr(), libc::O_RDWR | flags, 0o644 as libc::mode_t) };
            if fd >= 0 {
                // SAFETY: the call above made this descriptor and nobody else owns it.
                return Ok((unsafe { OwnedFd::from_raw_fd(fd) }, created));
            }
            last = io::Error::last_os_error();
            if last.raw_os_error() != Some(gone) {
                return Err(last);
            }
        }
    }
    Err(last)
}

/// The object's length, after giving `size` bytes to one that has none. Under a lock on the file, so
/// that whoever joins between creation and sizing never resizes what another process has mapped.
/// The bytes are reserved at once: a full /dev/shm is an error here, not a SIGBUS in the target.
fn sized(fd: &OwnedFd, size: usize) -> io::Result<usize> {
    // SAFETY: the descriptor is open.
    unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX) };
    let sized = reserve(fd, size);
    // SAFETY: as above.
    unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_UN) };
    sized
}

fn reserve(fd: &OwnedFd, size: usize) -> io::Result<usize> {
    while file_len(fd.as_fd())? == 0 {
        // SAFETY: the descriptor is open.
        match unsafe { libc::posix_fallocate(fd.as_raw_fd(), 0, size as libc::off_t) } {
            0 | libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    file_len(fd.as_fd())
}

fn inode(fd: &OwnedFd) -> io::Result<u64> {
    // SAFETY: `stat` is plain data, and all zero is a value of it.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `stat` writable.
    if unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.st_ino)
}

fn own_pid() -> libc::pid_t {
    // SAFETY: always succeeds.
    unsafe { libc::getpid() }
}

fn created_here() -> std::sync::MutexGuard<'static, Option<Created>> {
    CREATED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[used]
#[unsafe(link_section = ".fini_array")]
static END: extern "C" fn() = end;

/// At a normal exit: says what could not be recorded, which is known only now; and removes the name,
/// if this very process created it and it still means the same object. Threads may go on setting
/// bits; the memory stays.
extern "C" fn end() {
    let _ = std::panic::catch_unwind(|| {
        if OPENER.load(Ordering::Relaxed) == own_pid() {
            register::without_names(&process::lock()).for_each(|library| cannot_record(&library));
        }
        let Some(created) = created_here().take().filter(|created| created.process == own_pid()) else { return };
        // SAFETY: a C string.
        let fd = unsafe { libc::shm_open(created.name.as_ptr(), libc::O_RDONLY, 0) };
        if fd < 0 {
            return;
        }
        // SAFETY: the call above made this descriptor and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if inode(&fd).is_ok_and(|inode| inode == created.inode) {
            // SAFETY: a C string.
            unsafe { libc::shm_unlink(created.name.as_ptr()) };
        }
    });
}

/// Records a function. Called at its entry by objects that llvm-covmap's pass built.
#[unsafe(no_mangle)]
pub extern "C" fn __llvm_covmap_hit_function(id: u64) {
    let bits = BITS.load(Ordering::Acquire);
    if bits == 0 {
        return;
    }
    set_bit(id, bits);
}

fn set_bit(id: u64, bits: u64) {
    // The usual size is a power of two, and a division costs more than all the rest.
    let bit = if bits.is_power_of_two() { id & (bits - 1) } else { id % bits };
    // SAFETY: the bitmap was published before its number of bits, has that many, and is never
    // unmapped. Other processes set bits in it too, so the byte is atomic.
    let byte = unsafe { &*BITMAP.load(Ordering::Relaxed).add((bit / 8) as usize).cast::<AtomicU8>() };
    let mask = 1 << (bit % 8);
    if byte.load(Ordering::Relaxed) & mask == 0 {
        byte.fetch_or(mask, Ordering::Relaxed);
    }
}

/// Function ids by edge of the region; 0 where no function begins. Replaced with the region, and then
/// leaked: a callback may be reading it.
struct Ids {
    of_edge: &'static [AtomicU64],
    region: *const Region,
}

static IDS: AtomicPtr<Ids> = AtomicPtr::new(std::ptr::null_mut());

fn ids() -> Option<&'static Ids> {
    // SAFETY: published once complete, and never freed.
    unsafe { IDS.load(Ordering::Acquire).as_ref() }
}

/// Gives ids to the functions of a library whose guards are `base` and on in the region. `pcs` are
/// its addresses, two words an edge; `bias` is what the loader added to those in the file.
pub fn name_functions(region: &'static Region, base: u32, pcs: &[usize], bias: u64, path: &str) {
    if !is_open() {
        return;
    }
    let named = std::fs::read(path).map(|file| symbols::functions(&file)).unwrap_or_default();
    let Some(ids) = ids_for(region) else { return };
    for (i, pc) in pcs.chunks_exact(2).enumerate().filter(|(_, pc)| pc[1] & 1 != 0) {
        let offset = (pc[0] as u64).wrapping_sub(bias);
        // Stripped: the place in the file, which the next build moves.
        let place = || format!("{}+{offset:#x}", path.rsplit('/').next().unwrap_or(path)).into_bytes();
        let id = xxh3::hash(&named.get(&offset).cloned().unwrap_or_else(place));
        if let Some(slot) = ids.of_edge.get(base as usize + i) {
            slot.store(id.max(1), Ordering::Relaxed);
        }
    }
}

/// Whether there is a bitmap.
pub fn is_open() -> bool {
    BITS.load(Ordering::Acquire) != 0
}

/// Says that a library's functions cannot be recorded: it counts without calling us, its guards
/// have no addresses, or its stub is older than this.
pub fn cannot_record(library: &str) {
    say::line(format_args!(
        "{library}: its functions are not recorded for {NAME}; build it with hitmap-clang --hitmap-live, or compile all of it with \
         -fsanitize-coverage=func,trace-pc-guard,pc-table and link it with libhitmap_rt.so"
    ));
}

fn ids_for(region: &'static Region) -> Option<&'static Ids> {
    if let Some(ids) = ids().filter(|ids| std::ptr::eq(ids.region, region)) {
        return Some(ids);
    }
    let edges = region.layout().capacity as usize;
    // Untouched pages cost nothing.
    let memory = Mapping::anonymous(edges * size_of::<AtomicU64>()).ok()?.leak();
    // SAFETY: the mapping is zero, page-aligned, as long as the slice, and leaked.
    let of_edge = unsafe { std::slice::from_raw_parts(memory.cast::<AtomicU64>(), edges) };
    let made: &'static Ids = Box::leak(Box::new(Ids { of_edge, region }));
    IDS.store((&raw const *made).cast_mut(), Ordering::Release);
    Some(made)
}

/// An edge was touched for the first time since it was read last.
pub extern "C" fn touched(edge: u32) {
    let id = ids().and_then(|ids| ids.of_edge.get(edge as usize)).map_or(0, |id| id.load(Ordering::Relaxed));
    if id != 0 {
        set_bit(id, BITS.load(Ordering::Acquire));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_multiple_of_eight() {
        assert_eq!(size_in_bytes(None), Ok(1 << 20));
        assert_eq!(size_in_bytes(Some("4096")), Ok(4096));
        for wrong in ["0", "12", "-8", "1M", "", "18446744073709551608"] {
            assert!(size_in_bytes(Some(wrong)).is_err_and(|text| text.contains(wrong)), "{wrong}");
        }
    }
}
