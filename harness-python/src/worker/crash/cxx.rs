//! The C++ libraries of this process: what was thrown, and `std::terminate`.
//!
//! An extension brings libstdc++ along for itself, and there can be several copies, libc++ among them, each
//! with a terminate handler and exceptions of its own. Ours is set in each one, in front of the target's.
//! A copy that is linked into an extension and hidden there cannot be asked: its end is an abort.
//!
//! What is read here are the structures of the Itanium C++ ABI, which both libraries share.

use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use hitmap_wire::batch::notes::{BAD_ALLOC, DeathNote, FRAMES, How, TEXT, THROWN_ON, TYPE};
use hitmap_wire::identity;

use super::walk::From;
use super::{Pen, copy, depth, peek, walk, witness, write_bytes};
use crate::worker::origin;

/// Copies that can be told apart.
const COPIES: usize = 8;

type Pointer = AtomicPtr<c_void>;

/// One C++ library.
struct Copy {
    /// `std::set_terminate`, by which it is known.
    set: Pointer,
    /// The handler that the target set, or the library's own.
    wanted: Pointer,
    /// `__cxa_current_exception_type`.
    kind: Pointer,
    /// `__cxa_current_primary_exception`, which libc++ has.
    primary: Pointer,
    /// `__cxa_decrement_exception_refcount`, which goes with it.
    release: Pointer,
    /// `__cxa_get_globals`, for libstdc++.
    globals: Pointer,
    /// The type of `std::exception`.
    exception: Pointer,
    /// The type of `std::bad_alloc`.
    bad_alloc: Pointer,
}

impl Copy {
    const fn unknown() -> Copy {
        const fn none() -> Pointer {
            Pointer::new(std::ptr::null_mut())
        }
        Copy {
            set: none(),
            wanted: none(),
            kind: none(),
            primary: none(),
            release: none(),
            globals: none(),
            exception: none(),
            bad_alloc: none(),
        }
    }
}

static KNOWN: [Copy; COPIES] = [const { Copy::unknown() }; COPIES];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static ADOPTING: Mutex<()> = Mutex::new(());

type Handler = unsafe extern "C-unwind" fn();

/// A handler each, because a handler is not told whose it is.
const HANDLERS: [unsafe extern "C-unwind" fn(); COPIES] = [
    on_terminate::<0>,
    on_terminate::<1>,
    on_terminate::<2>,
    on_terminate::<3>,
    on_terminate::<4>,
    on_terminate::<5>,
    on_terminate::<6>,
    on_terminate::<7>,
];

fn known() -> &'static [Copy] {
    &KNOWN[..COUNT.load(Ordering::Acquire).min(COPIES)]
}

/// Looks at the C++ libraries that are loaded by now.
pub fn prepare() {
    for library in identity::all_loaded() {
        let name = library.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let is_cxx = [&b"libstdc++"[..], b"libc++"].iter().any(|start| name.starts_with(start));
        let Ok(path) = CString::new(library.path.as_slice()) else { continue };
        if is_cxx {
            // SAFETY: names end with a zero; nothing is loaded that is not there, and the handle stays open.
            unsafe {
                let handle = libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
                if !handle.is_null() {
                    adopt(|name| libc::dlsym(handle, name.as_ptr()));
                }
            }
        }
    }
}

/// Sets our terminate handler in a copy, unless it is known.
fn adopt(find: impl Fn(&CStr) -> *mut c_void) {
    // A child may have been forked while another thread of the server was here.
    let Ok(_alone) = ADOPTING.try_lock() else { return };
    let set = find(c"_ZSt13set_terminatePFvvE");
    let at = known().len();
    if set.is_null() || at == COPIES || known().iter().any(|copy| copy.set.load(Ordering::Relaxed) == set) {
        return;
    }
    let copy = &KNOWN[at];
    copy.kind.store(find(c"__cxa_current_exception_type"), Ordering::Relaxed);
    copy.primary.store(find(c"__cxa_current_primary_exception"), Ordering::Relaxed);
    copy.release.store(find(c"__cxa_decrement_exception_refcount"), Ordering::Relaxed);
    copy.globals.store(find(c"__cxa_get_globals"), Ordering::Relaxed);
    copy.exception.store(find(c"_ZTISt9exception"), Ordering::Relaxed);
    copy.bad_alloc.store(find(c"_ZTISt9bad_alloc"), Ordering::Relaxed);
    copy.set.store(set, Ordering::Relaxed);
    COUNT.store(at + 1, Ordering::Release);
    // SAFETY: the function under this name has this type.
    unsafe {
        let before =
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Handler) -> *mut c_void>(set)(HANDLERS[at]);
        copy.wanted.store(before, Ordering::Release);
    }
}

/// An address throws for the first time: its copy may be new.
pub unsafe extern "C" fn on_thrower(caller: *const c_void) {
    let find = witness::real().find;
    // SAFETY: names end with a zero.
    adopt(|name| unsafe { find(name.as_ptr(), caller) });
}

/// Something is thrown.
pub unsafe extern "C" fn on_throw(object: *mut c_void, kind: *const c_void, from: *const c_void) {
    note_place(object, from);
    origin::on_throw(object, kind);
}

/// Throws whose places are remembered: one that nobody catches is among the last.
const PLACES: usize = 16;
static OBJECTS: [AtomicUsize; PLACES] = [const { AtomicUsize::new(0) }; PLACES];
static FROM: [AtomicUsize; PLACES] = [const { AtomicUsize::new(0) }; PLACES];
static THROWS: AtomicUsize = AtomicUsize::new(0);

/// Two threads that throw at once may spoil each other's entry, which then is of no exception.
#[inline]
fn note_place(object: *mut c_void, from: *const c_void) {
    let at = THROWS.fetch_add(1, Ordering::Relaxed) % PLACES;
    OBJECTS[at].store(object as usize, Ordering::Relaxed);
    FROM[at].store(from as usize, Ordering::Relaxed);
}

/// Where an exception was thrown first. Memory is used again: the last one at this place is the one.
fn place_of(object: *mut c_void) -> Option<u64> {
    let last = THROWS.load(Ordering::Relaxed);
    let mut latest = (1..=PLACES.min(last)).map(|back| (last - back) % PLACES);
    latest
        .find(|at| OBJECTS[*at].load(Ordering::Relaxed) == object as usize)
        .map(|at| FROM[at].load(Ordering::Relaxed) as u64)
}

/// Puts the place of the first throw in front of a stack that does not lead there: the exception was thrown on, or
/// carried from another thread.
fn add_place(note: &DeathNote, place: u64) {
    let stack = &note.stack;
    let len = (stack.len.load(Ordering::Relaxed) as usize).min(FRAMES);
    if stack.frames[..len].iter().any(|frame| frame.load(Ordering::Relaxed) == place) {
        return;
    }
    let kept = len.min(FRAMES - 1);
    for at in (0..kept).rev() {
        stack.frames[at + 1].store(stack.frames[at].load(Ordering::Relaxed), Ordering::Relaxed);
    }
    stack.frames[0].store(place, Ordering::Relaxed);
    stack.len.store(kept as u32 + 1, Ordering::Relaxed);
    note.flags.fetch_or(THROWN_ON, Ordering::Relaxed);
}

/// What the calling thread handles now, of whichever copy.
pub fn handled() -> Option<Thrown> {
    known().iter().find_map(Copy::current)
}

/// In place of `std::set_terminate`, which is `real`.
pub unsafe extern "C" fn on_set_terminate(handler: *const c_void, real: *const c_void) -> *const c_void {
    if let Some(copy) = known().iter().find(|copy| copy.set.load(Ordering::Relaxed).cast_const() == real) {
        return copy.wanted.swap(handler.cast_mut(), Ordering::AcqRel);
    }
    if real.is_null() {
        return real;
    }
    // SAFETY: the function under that name has this type.
    unsafe { std::mem::transmute::<*const c_void, unsafe extern "C" fn(*const c_void) -> *const c_void>(real)(handler) }
}

/// In place of `std::get_terminate` of the copy whose `std::set_terminate` is `set`; null for one that is not
/// known.
pub unsafe extern "C" fn on_get_terminate(set: *const c_void) -> *const c_void {
    let copy = known().iter().find(|copy| copy.set.load(Ordering::Relaxed).cast_const() == set);
    copy.map_or(std::ptr::null(), |copy| copy.wanted.load(Ordering::Acquire))
}

unsafe extern "C-unwind" fn on_terminate<const AT: usize>() {
    let copy = &KNOWN[AT];
    if let Some(pen) = Pen::take()
        && !pen.is_settled()
    {
        let note = pen.0;
        pen.begin();
        walk::store(&note.stack, From::Caller, depth());
        let thrown = copy.current();
        if let Some(thrown) = &thrown {
            write_bytes(&note.thrown_len, &note.thrown, thrown.name().trim_ascii());
            if copy.is_caught_as(&copy.bad_alloc, thrown).is_some() {
                note.flags.fetch_or(BAD_ALLOC, Ordering::Relaxed);
            }
            if let Some(place) = place_of(thrown.object) {
                add_place(note, place);
            }
        }
        pen.finish(How::Terminate);
        if let Some(thrown) = thrown {
            copy.write_what(&thrown, note);
        }
    }
    let wanted = copy.wanted.load(Ordering::Acquire);
    // SAFETY: it is what the target set, or the library's own; a handler that returns is an abort.
    unsafe {
        if !wanted.is_null() {
            std::mem::transmute::<*mut c_void, Handler>(wanted)();
        }
        libc::abort();
    }
}

/// An exception that is being handled: its type, and the object that was thrown.
pub struct Thrown {
    kind: *const c_void,
    /// The object.
    pub object: *mut c_void,
}

impl Thrown {
    /// The mangled name of its type.
    pub fn name(&self) -> Vec<u8> {
        name_of(self.kind)
    }
}

/// The object of the exception that a thread handles, from libstdc++'s `__cxa_eh_globals`: their first word
/// leads to the exception's header, behind which the object lies. The header of one that was thrown again
/// from an `exception_ptr` leads to the object with its first word.
fn caught(globals: *mut c_void) -> Option<*mut c_void> {
    /// Bytes of `__cxa_exception`.
    const HEADER: u64 = 112;
    /// Where its `unwindHeader` begins, with the class of exceptions.
    const CLASS: u64 = 80;
    const GNU: u64 = u64::from_be_bytes(*b"GNUCC++\0");
    let header = peek(globals as u64).filter(|header| *header != 0)?;
    match peek(header + CLASS)? {
        GNU => Some((header + HEADER) as *mut c_void),
        class if class == GNU + 1 => Some(peek(header)? as *mut c_void),
        _ => None,
    }
}

/// The mangled name in a `std::type_info`, whose second word it is. A star in front says that the name is
/// known in its file only.
pub fn name_of(kind: *const c_void) -> Vec<u8> {
    let mut name = [0; TYPE];
    let len = peek(kind as u64 + 8).map_or(0, |at| copy(at, &mut name));
    let end = name[..len].iter().position(|byte| *byte == 0).unwrap_or(len);
    name[..end].strip_prefix(b"*").unwrap_or(&name[..end]).to_vec()
}

impl Copy {
    /// What the calling thread handles now.
    fn current(&self) -> Option<Thrown> {
        let get = |function: &Pointer| {
            let function = function.load(Ordering::Relaxed);
            // SAFETY: both functions take nothing and give a pointer.
            (!function.is_null()).then(|| unsafe {
                std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *mut c_void>(function)()
            })
        };
        let kind = get(&self.kind).filter(|kind| !kind.is_null())?;
        let object = get(&self.primary).or_else(|| caught(get(&self.globals)?)).unwrap_or(std::ptr::null_mut());
        let release = self.release.load(Ordering::Relaxed);
        if !object.is_null() && !release.is_null() {
            // SAFETY: the function under that name has this type; it takes back what asking added.
            unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(release)(object) };
        }
        Some(Thrown { kind, object })
    }

    /// The object as a `catch` of this type would get it; `None` when that would not catch it.
    fn is_caught_as(&self, wanted: &Pointer, thrown: &Thrown) -> Option<*mut c_void> {
        /// `__do_catch` of libstdc++ and `can_catch` of libc++abi, behind two destructors and two others.
        const CATCHES: usize = 4;
        type Catches = unsafe extern "C" fn(*const c_void, *const c_void, *mut *mut c_void, c_int) -> bool;
        let wanted = wanted.load(Ordering::Relaxed);
        if wanted.is_null() || thrown.object.is_null() {
            return None;
        }
        let mut object = thrown.object;
        // SAFETY: a type's first word leads to its virtual functions, and this one has that type.
        let caught = unsafe {
            let functions = *wanted.cast::<*const Catches>();
            (*functions.add(CATCHES))(wanted, thrown.kind, &mut object, 1)
        };
        caught.then_some(object)
    }

    /// Stores what `what()` of the exception says: code of the target, so it comes last.
    fn write_what(&self, thrown: &Thrown, note: &DeathNote) {
        /// Behind two destructors.
        const WHAT: usize = 2;
        type What = unsafe extern "C" fn(*const c_void) -> *const u8;
        let Some(exception) = self.is_caught_as(&self.exception, thrown) else { return };
        let mut text = [0; TEXT];
        // SAFETY: it is a `std::exception`, whose first word leads to its virtual functions.
        let said = unsafe { (*(*exception.cast::<*const What>()).add(WHAT))(exception) };
        let len = copy(said as u64, &mut text);
        write_bytes(&note.text_len, &note.text, &text[..len]);
    }
}
