//! Where a Python exception was made, below Python: the native stack of the raise, and of the C++ throw that it
//! translates.
//!
//! An exception keeps Python's places only. Two bugs of a library behind one line of the harness differ in the
//! native stack where the instance was made. So the functions that make instances of exceptions (`tp_new`)
//! have ours in front, in all classes that inherit one of the interpreter's own. Ours does nothing until a
//! run is **traced**: one that is observed, or one that is repeated because it raised. Then it notes
//! the stack, and what C++ exception is being handled at that moment: a binding that translates it makes the
//! Python exception inside of its `catch`.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hitmap_wire::batch::notes::FRAMES;
use hitmap_wire::identity::{self, Loaded};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType};

use super::crash::{cxx, walk};

/// Whether the run that goes on is traced.
static IS_TRACED: AtomicBool = AtomicBool::new(false);

/// Functions that make exceptions, of the interpreter's own; 3.13 has four.
const MAKERS: usize = 8;
static ORIGINALS: [AtomicUsize; MAKERS] = [const { AtomicUsize::new(0) }; MAKERS];
const OURS: [ffi::newfunc; MAKERS] =
    [make::<0>, make::<1>, make::<2>, make::<3>, make::<4>, make::<5>, make::<6>, make::<7>];

/// Where `tp_new` lies in a type, in words. It is no part of the stable ABI, so that it lies there is checked.
const NEW: usize = 39;
/// Where `tp_vectorcall` lies, which goes first where there is one.
const VECTORCALL: usize = 50;

/// `_PyEval_EvalFrameDefault`: what is raised by Python code is made below it.
static EVALUATES: AtomicU64 = AtomicU64::new(0);

/// Code of the interpreter and of its own extensions.
const SPANS: usize = 64;
type Spans = [(AtomicU64, AtomicU64); SPANS];
static INTERPRETERS: Spans = [const { (AtomicU64::new(0), AtomicU64::new(0)) }; SPANS];
static SYSTEMS: Spans = [const { (AtomicU64::new(0), AtomicU64::new(0)) }; SPANS];

/// Instances that are remembered. The one that ends a run is made at its end.
const MADE: usize = 256;
static LAST_MADE: Mutex<VecDeque<Made>> = Mutex::new(VecDeque::new());
/// Throws that are remembered, of all threads.
const THROWN: usize = 32;
static LAST_THROWN: Mutex<VecDeque<Throw>> = Mutex::new(VecDeque::new());

struct Made {
    instance: usize,
    raised: Vec<u64>,
    translates: Option<Throw>,
}

/// A C++ exception that was thrown.
#[derive(Clone, Default)]
struct Throw {
    object: usize,
    kind: Vec<u8>,
    frames: Vec<u64>,
}

/// What is known of an instance.
#[derive(Default)]
pub struct Origin {
    /// The native stack where it was made, unless Python code made it.
    pub raised: Vec<u64>,
    /// The native stack of the C++ throw that it translates.
    pub thrown: Vec<u64>,
    /// The mangled name of the type that was thrown.
    pub kind: Vec<u8>,
}

/// Puts ours in front, in the server: children inherit it, and classes that they make inherit it as well.
///
/// # Errors
/// What Python raises.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    // SAFETY: the name ends with a zero.
    let evaluates = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_PyEval_EvalFrameDefault".as_ptr()) };
    if evaluates.is_null() {
        // Nobody could tell what Python code raises.
        return Ok(());
    }
    EVALUATES.store(evaluates as u64, Ordering::Relaxed);
    look_at(&identity::all_loaded());
    let root = py.get_type::<pyo3::exceptions::PyBaseException>();
    let builtins = py.import("builtins")?.getattr("__dict__")?.cast_into::<PyDict>()?;
    for value in builtins.values() {
        let Ok(class) = value.cast_into::<PyType>() else { continue };
        if class.is_subclass(&root)? {
            let Some(new) = new_of(&class) else { return Ok(()) };
            let known = ORIGINALS.iter().any(|original| original.load(Ordering::Relaxed) == new);
            if let (false, Some(free)) = (known, ORIGINALS.iter().find(|o| o.load(Ordering::Relaxed) == 0)) {
                free.store(new, Ordering::Relaxed);
            }
        }
    }
    // A class may have a method of this name for its own purposes.
    let subclasses = py.get_type::<PyType>().getattr("__subclasses__")?;
    let mut seen = std::collections::HashSet::new();
    let mut classes = vec![root];
    while let Some(class) = classes.pop() {
        if seen.insert(class.as_ptr() as usize) {
            put_in_front(&class);
            for sub in subclasses.call1((&class,))?.cast::<PyList>()?.iter() {
                classes.extend(sub.cast_into::<PyType>());
            }
        }
    }
    Ok(())
}

/// A class's `tp_new`; `None` when it does not lie where it should.
fn new_of(class: &Bound<'_, PyType>) -> Option<usize> {
    // SAFETY: a type is larger than that in every version since 3.8, and is never moved.
    unsafe {
        let said = ffi::PyType_GetSlot(class.as_type_ptr(), ffi::Py_tp_new) as usize;
        let lies = *class.as_ptr().cast::<usize>().add(NEW);
        (said == lies).then_some(lies)
    }
}

fn put_in_front(class: &Bound<'_, PyType>) {
    let Some(new) = new_of(class).filter(|new| *new != 0) else { return };
    let Some(at) = ORIGINALS.iter().position(|original| original.load(Ordering::Relaxed) == new) else { return };
    // SAFETY: as in `new_of`; we are attached, so nobody else makes an instance now. A null `tp_vectorcall`
    // has instances made by `tp_new`.
    unsafe {
        let words = class.as_ptr().cast::<usize>();
        words.add(NEW).write(OURS[at] as usize);
        words.add(VECTORCALL).write(0);
    }
}

/// Learns where the interpreter's own code lies, and the system's.
pub fn look_at(objects: &[Loaded]) {
    let evaluates = EVALUATES.load(Ordering::Relaxed);
    let is_own = |object: &&Loaded| {
        (object.span.0..object.span.1).contains(&evaluates)
            || object.path.windows(13).any(|part| part == b"/lib-dynload/")
    };
    let is_systems = |object: &&Loaded| {
        let name = object.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        SYSTEM.iter().any(|start| name.starts_with(start))
    };
    store(&INTERPRETERS, objects.iter().filter(is_own));
    store(&SYSTEMS, objects.iter().filter(is_systems));
}

fn store<'a>(spans: &Spans, objects: impl Iterator<Item = &'a Loaded>) {
    for ((start, end), object) in spans.iter().zip(objects) {
        start.store(object.span.0, Ordering::Relaxed);
        end.store(object.span.1, Ordering::Relaxed);
    }
}

/// Libraries that every process has: what they do is done for somebody else.
const SYSTEM: [&[u8]; 8] =
    [b"libc.so", b"libc-", b"libstdc++.", b"libgcc_s", b"libpthread", b"ld-linux", b"libm.so", b"libclang_rt."];

/// Whether Python code is the first on a stack that says anything of a bug: between it and the end there is no
/// code of a library, only the interpreter's and the system's.
pub fn is_pythons(frames: impl Iterator<Item = u64>) -> bool {
    let evaluates = EVALUATES.load(Ordering::Relaxed);
    for frame in frames.filter(|frame| !lies_in(&SYSTEMS, *frame)) {
        if !is_interpreters(frame) {
            return false;
        }
        if walk::function(frame) == evaluates {
            return true;
        }
    }
    true
}

/// Whether an address lies in the interpreter, or in an extension that is part of it.
pub fn is_interpreters(address: u64) -> bool {
    lies_in(&INTERPRETERS, address)
}

fn lies_in(spans: &Spans, address: u64) -> bool {
    let span = |(start, end): &(AtomicU64, AtomicU64)| start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed);
    spans.iter().any(|pair| span(pair).contains(&address))
}

/// From here on the run is traced.
pub fn begin() {
    forget();
    IS_TRACED.store(true, Ordering::Relaxed);
}

/// The run is over. What it left stays until [`forget`].
pub fn end() {
    IS_TRACED.store(false, Ordering::Relaxed);
}

/// Forgets all instances and throws.
pub fn forget() {
    for_all(&LAST_MADE, VecDeque::clear);
    for_all(&LAST_THROWN, VecDeque::clear);
}

/// What is known of this instance.
pub fn of(instance: &Bound<'_, PyAny>) -> Option<Origin> {
    let at = instance.as_ptr() as usize;
    let find = |all: &mut VecDeque<Made>| {
        // Memory is used again: the last one at this place is the one.
        let made = all.iter().rev().find(|made| made.instance == at)?;
        let throw = made.translates.clone().unwrap_or_default();
        Some(Origin { raised: made.raised.clone(), thrown: throw.frames, kind: throw.kind })
    };
    for_all(&LAST_MADE, find).flatten()
}

/// What is known of a `MemoryError` that nobody made: from 3.12 on, `PyErr_NoMemory` raises one that lies ready.
/// Bindings call it where they catch `std::bad_alloc`.
pub fn of_ready_made() -> Origin {
    const KINDS: [&[u8]; 2] = [b"St9bad_alloc", b"St20bad_array_new_length"];
    let find = |all: &mut VecDeque<Throw>| all.back().filter(|last| KINDS.contains(&last.kind.as_slice())).cloned();
    let throw = for_all(&LAST_THROWN, find).flatten().unwrap_or_default();
    Origin { raised: Vec::new(), thrown: throw.frames, kind: throw.kind }
}

/// Nobody waits here: a fork may have left a lock behind that another thread held.
fn for_all<T, R>(all: &Mutex<VecDeque<T>>, work: impl FnOnce(&mut VecDeque<T>) -> R) -> Option<R> {
    all.try_lock().ok().map(|mut all| work(&mut all))
}

fn keep<T>(all: &Mutex<VecDeque<T>>, most: usize, one: T) {
    for_all(all, |all| {
        if all.len() == most {
            all.pop_front();
        }
        all.push_back(one);
    });
}

unsafe extern "C" fn make<const AT: usize>(
    class: *mut ffi::PyTypeObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: `put_in_front` gave this function to a class only after it had the original in its place.
    let instance = unsafe {
        let original = ORIGINALS[AT].load(Ordering::Relaxed);
        std::mem::transmute::<usize, ffi::newfunc>(original)(class, arguments, keywords)
    };
    if IS_TRACED.load(Ordering::Relaxed) && !instance.is_null() {
        note(instance as usize);
    }
    instance
}

#[cold]
fn note(instance: usize) {
    let evaluates = EVALUATES.load(Ordering::Relaxed);
    let mut raised = Vec::new();
    // Frames of the interpreter that make the instance come first. If they lead to the evaluation of Python code,
    // that code made it.
    let (mut is_outside, mut is_pythons) = (false, false);
    walk::each(|frame| {
        is_pythons = !is_outside && frame.function == evaluates;
        is_outside |= !is_interpreters(frame.address);
        raised.push(frame.address);
        !is_pythons && raised.len() < FRAMES
    });
    let mut translates = None;
    if is_pythons || !is_outside {
        raised.clear();
    } else if let Some(thrown) = cxx::handled() {
        let find = |all: &mut VecDeque<Throw>| all.iter().rev().find(|t| t.object == thrown.object as usize).cloned();
        let throw = for_all(&LAST_THROWN, find).flatten();
        translates = Some(throw.unwrap_or_else(|| Throw { kind: thrown.name(), ..Throw::default() }));
    }
    keep(&LAST_MADE, MADE, Made { instance, raised, translates });
}

/// Something was thrown.
#[inline]
pub fn on_throw(object: *mut c_void, kind: *const c_void) {
    if IS_TRACED.load(Ordering::Relaxed) {
        note_throw(object, kind);
    }
}

#[cold]
fn note_throw(object: *mut c_void, kind: *const c_void) {
    let mut frames = Vec::new();
    walk::each(|frame| {
        frames.push(frame.address);
        frames.len() < FRAMES
    });
    keep(&LAST_THROWN, THROWN, Throw { object: object as usize, kind: cxx::name_of(kind), frames });
}
