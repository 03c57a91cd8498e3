//! An exception that ended a run: what it is, where it comes from, and what is told of it.
//!
//! Its **root** is the exception at the end of its explicit causes (`raise … from`), which CPython sets too
//! where it makes an error of a mistake of native code. What merely was being handled (`__context__`) is no cause.

use std::collections::HashMap;

use hitmap_wire::batch::{Batch, RECORD_RAISED, RECORD_TEXT, RECORD_THROWN, RECORD_TYPE};
use hitmap_wire::identity::Loaded;
use hitmap_wire::outcome::Outcome;
use pyo3::exceptions::{PyMemoryError, PyRecursionError, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTraceback, PyType};
use xxhash_rust::xxh3::Xxh3;

use super::barrier;
use super::crash::walk;
use super::origin::{self, Origin};
use super::outcome::{Ended, Harness};

/// Places of a traceback that count. Recursion visits the same places over and over, so this is
/// deep.
const PLACES: usize = 64;

/// Native frames that count, from the innermost.
const FRAMES: usize = 16;

/// Causes that are followed: a chain can be a ring.
const CAUSES: usize = 16;

/// An exception with its causes.
pub struct Raised<'py> {
    /// It, and the exceptions that it was raised from; the last one is the root.
    chain: Vec<Bound<'py, PyAny>>,
}

/// File name, function and line of one frame.
type Place = (String, String, u32);

impl<'py> Raised<'py> {
    /// Takes the exception that is set.
    pub fn fetch(py: Python<'py>) -> Raised<'py> {
        // A call that failed without an exception is a bug of the extension; CPython makes it a
        // SystemError where it sees it.
        let mut chain = vec![whole(py, PyErr::fetch(py))];
        while chain.len() < CAUSES
            && let Ok(cause) = chain[chain.len() - 1].getattr(intern!(py, "__cause__"))
            && !cause.is_none()
        {
            chain.push(cause);
        }
        Raised { chain }
    }

    /// The exception.
    pub fn error(&self) -> &Bound<'py, PyAny> {
        &self.chain[0]
    }

    fn root(&self) -> &Bound<'py, PyAny> {
        &self.chain[self.chain.len() - 1]
    }

    /// How the run ended by it, without its signature.
    pub fn ended(&self) -> Ended {
        let error = self.error();
        let (outcome, value) = if self.chain.iter().any(|one| one.is_instance_of::<PyMemoryError>()) {
            (Outcome::OutOfMemory, 0)
        } else if error.is_instance_of::<PySystemExit>() {
            (Outcome::Exit, exit_status(error))
        } else {
            (Outcome::Exception, 0)
        };
        Ended { outcome, value, signature: 0 }
    }

    /// The types' names of the exception and of its root.
    pub fn types(&self) -> (String, String) {
        (type_name(&self.error().get_type()), type_name(&self.root().get_type()))
    }

    /// What is known of the root's origin.
    pub fn origin(&self) -> Origin {
        let is_memory = self.root().is_instance_of::<PyMemoryError>();
        origin::of(self.root()).unwrap_or_else(|| if is_memory { origin::of_ready_made() } else { Origin::default() })
    }

    /// A hash of the types, of where native code made the root, and of the places in its traceback, outermost
    /// first, each once. Of an endless recursion only the places count that come again: how it was entered and
    /// how deep it is are chance.
    ///
    /// It tells apart more than a finding's name does: what is split here is confirmed once more, what is
    /// merged is lost.
    pub fn signature(&self, origin: &Origin, objects: &[Loaded]) -> u64 {
        let mut hash = Xxh3::new();
        let (own, root) = self.types();
        for text in [&own, &root] {
            hash.update(text.as_bytes());
            hash.update(&[0]);
        }
        let mut places = self.places();
        if self.root().is_instance_of::<PyRecursionError>() {
            places = repeated(places);
            let functions = origin.raised.iter().map(|frame| walk::function(*frame)).filter(|start| *start != 0);
            for function in repeated_functions(functions.collect()) {
                if let Some(object) = objects.iter().find(|o| (o.span.0..o.span.1).contains(&function)) {
                    hash.update(object.identity.as_bytes());
                    hash.update(&(function - object.bias).to_le_bytes());
                }
            }
        } else {
            let frames = if origin.thrown.is_empty() { &origin.raised } else { &origin.thrown };
            let counted = frames.iter().filter(|frame| !origin::is_interpreters(**frame));
            for frame in counted.take(FRAMES) {
                if let Some(object) = objects.iter().find(|o| (o.span.0..o.span.1).contains(frame)) {
                    hash.update(object.identity.as_bytes());
                    hash.update(&(frame - object.bias).to_le_bytes());
                }
            }
            hash.update(&origin.kind);
            places = once(places);
        }
        for (file, function, line) in &places {
            hash.update(&[0]);
            hash.update(file.as_bytes());
            hash.update(&[0]);
            hash.update(function.as_bytes());
            hash.update(&line.to_le_bytes());
        }
        hash.digest()
    }

    /// The places of the root's traceback, outermost first; of the exception's when the root has none.
    fn places(&self) -> Vec<Place> {
        let of = |error: &Bound<'py, PyAny>| error.getattr(intern!(error.py(), "__traceback__")).ok();
        let start = |error| of(error).and_then(|found| found.cast_into::<PyTraceback>().ok());
        let mut next = start(self.root()).or_else(|| start(self.error()));
        let mut places = Vec::new();
        while let Some(traceback) = next {
            places.extend(place(&traceback));
            let after = traceback.getattr(intern!(traceback.py(), "tb_next")).ok();
            next = after.and_then(|next| next.cast_into::<PyTraceback>().ok());
        }
        places
    }

    /// Takes an exception out of the contexts of all that is known of this one.
    pub fn forget_context(&self, handled: &Bound<'py, PyAny>) {
        /// A graph that is larger than any chain worth reading.
        const MOST: usize = 256;
        let py = handled.py();
        let (mut waiting, mut seen) = (self.chain.clone(), Vec::new());
        while let Some(error) = waiting.pop().filter(|_| seen.len() < MOST) {
            if seen.iter().any(|other| error.is(other)) {
                continue;
            }
            for name in [intern!(py, "__context__"), intern!(py, "__cause__")] {
                match error.getattr(name) {
                    Ok(other) if other.is(handled) => drop(error.setattr(name, py.None())),
                    Ok(other) if !other.is_none() => waiting.push(other),
                    _ => {}
                }
            }
            seen.push(error);
        }
    }

    /// What the host says of it.
    pub fn describe(&self, harness: &Harness) -> String {
        let py = self.error().py();
        let told = barrier::call_method(harness.host.bind(py), intern!(py, "describe"), (self.error(),));
        let told = told.and_then(|text| text.extract::<String>());
        told.unwrap_or_else(|why| {
            format!("{}: (its traceback could not be written: {why})", type_name(&self.error().get_type()))
        })
    }

    /// Gives everything up: destructors of what the exception holds are code of the target.
    pub fn release(self) {
        for error in self.chain {
            // SAFETY: attached, as the object's life says; the reference is ours.
            unsafe { barrier::release(error.into_ptr()) };
        }
    }
}

/// What is told of an exception: text, and where it comes from.
pub struct Told {
    /// How the run ended.
    pub ended: Ended,
    /// The types' names of the exception and of its root.
    pub types: (String, String),
    text: String,
    origin: Origin,
}

impl Told {
    /// All that there is to tell; the text only when `is_wanted` says so of the signature.
    pub fn of(raised: &Raised<'_>, harness: &Harness, objects: &[Loaded], is_wanted: impl Fn(u64) -> bool) -> Told {
        let (types, origin) = (raised.types(), raised.origin());
        let ended = Ended { signature: raised.signature(&origin, objects), ..raised.ended() };
        let text = if is_wanted(ended.signature) { raised.describe(harness) } else { String::new() };
        Told { ended, types, text, origin }
    }

    /// Adds it to the batch file's records; says whether there was something to add, and room.
    pub fn write(&self, batch: &Batch, slot: usize) -> bool {
        let bytes = |frames: &[u64]| frames.iter().flat_map(|frame| frame.to_ne_bytes()).collect::<Vec<u8>>();
        if self.text.is_empty() || !batch.add_record(slot, RECORD_TEXT, self.text.as_bytes()) {
            return false;
        }
        let Origin { raised, thrown, kind } = &self.origin;
        let more = [(RECORD_RAISED, bytes(raised)), (RECORD_THROWN, bytes(thrown)), (RECORD_TYPE, kind.clone())];
        more.iter().filter(|(_, bytes)| !bytes.is_empty()).all(|(kind, bytes)| batch.add_record(slot, *kind, bytes))
    }
}

/// The exception as Python code sees it, its traceback attached: before 3.12 the interpreter keeps the
/// two apart until an `except` joins them.
pub fn whole(py: Python<'_>, error: PyErr) -> Bound<'_, PyAny> {
    error.into_value(py).into_bound(py).into_any()
}

/// The status that the process would have ended with: none is 0, a number is cut to a byte as by the
/// system, anything else is printed and is 1.
fn exit_status(error: &Bound<'_, PyAny>) -> u32 {
    match error.getattr(intern!(error.py(), "code")) {
        Ok(code) if code.is_none() => 0,
        Ok(code) => code.extract::<i64>().map_or(1, |code| (code & 0xFF) as u32),
        Err(_) => 1,
    }
}

/// The first so many, each once.
fn once(places: Vec<Place>) -> Vec<Place> {
    let mut seen: Vec<Place> = Vec::new();
    for place in places {
        if !seen.contains(&place) {
            seen.push(place);
        }
        if seen.len() == PLACES {
            break;
        }
    }
    seen
}

/// Functions outside of the interpreter that stand on a stack more than once, each once, by address.
fn repeated_functions(mut starts: Vec<u64>) -> Vec<u64> {
    starts.retain(|start| !origin::is_interpreters(*start));
    starts.sort_unstable();
    let mut repeated: Vec<u64> = starts.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}

/// Those that come more than once, in an order of their own.
fn repeated(places: Vec<Place>) -> Vec<Place> {
    let mut count = HashMap::new();
    for place in places {
        *count.entry(place).or_insert(0) += 1;
    }
    let mut repeated: Vec<Place> = count.into_iter().filter(|(_, count)| *count > 1).map(|(place, _)| place).collect();
    repeated.sort();
    repeated
}

fn type_name(class: &Bound<'_, PyType>) -> String {
    let part =
        |name: PyResult<Bound<'_, PyString>>| name.map_or_else(|_| "?".into(), |n| n.to_string_lossy().into_owned());
    format!("{}.{}", part(class.module()), part(class.qualname()))
}

/// Files go by their last name, which is the same on every machine.
fn place(traceback: &Bound<'_, PyTraceback>) -> PyResult<Place> {
    let py = traceback.py();
    let code = traceback.getattr(intern!(py, "tb_frame"))?.getattr(intern!(py, "f_code"))?;
    let text = |value: Bound<'_, PyAny>| Ok::<_, PyErr>(value.cast::<PyString>()?.to_string_lossy().into_owned());
    let path = text(code.getattr(intern!(py, "co_filename"))?)?;
    let file = path.rsplit('/').next().unwrap_or(&path).to_owned();
    let function = text(code.getattr(intern!(py, "co_name"))?)?;
    Ok((file, function, traceback.getattr(intern!(py, "tb_lineno"))?.extract().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32) -> Place {
        ("h.py".into(), "f".into(), line)
    }

    #[test]
    fn a_recursion_is_the_places_that_come_again() {
        let a = repeated(vec![at(1), at(2), at(3), at(2), at(3), at(9)]);
        let b = repeated(vec![at(7), at(3), at(2), at(3), at(2), at(3), at(8)]);
        assert_eq!((a.clone(), a), (b, vec![at(2), at(3)]));
    }

    #[test]
    fn each_place_counts_once() {
        assert_eq!(once(vec![at(1), at(2), at(1), at(3)]), [at(1), at(2), at(3)]);
        assert_eq!(once((0..1000).map(at).collect()).len(), PLACES);
    }
}
