//! One call of the harness, and what became of it.
//!
//! The ordinary ends, a return and an expected exception, cost a few nanoseconds beyond the call and
//! make no Rust value of a Python one. Whatever the run left (result, exception, frames) is released
//! before the map is read, so that destructors count for the input that they belong to.

use hitmap_wire::outcome::Outcome;
use pyo3::exceptions::{PyMemoryError, PySystemExit};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTraceback, PyTuple, PyType};
use xxhash_rust::xxh3::Xxh3;

use super::barrier;
use super::making::Making;

/// Places of a traceback that count. Recursion visits the same places over and over, so this is
/// deep.
const PLACES: usize = 64;

/// Objects that may be alive and untracked before a collection is worth its time. Python's own
/// threshold is hundreds; between inputs there is no hurry.
const ALLOCATIONS: i64 = 20_000;

/// What to call and what it may raise.
pub struct Harness {
    /// Takes bytes.
    pub function: Py<PyAny>,
    /// Exception classes.
    pub expected: Py<PyTuple>,
    /// Makes a value of the bytes, when the harness takes values.
    pub decode: Option<Py<PyAny>>,
    /// The harness's own ways to make inputs.
    pub making: Making,
    /// Python's half of the worker; writes reports.
    pub host: Py<PyAny>,
}

impl Harness {
    /// Has `host` import the file.
    ///
    /// # Errors
    /// What the import raises.
    pub fn load(py: Python<'_>, host: &Bound<'_, PyAny>) -> PyResult<Harness> {
        let found = barrier::call_method(host, intern!(py, "load"), ())?;
        Ok(Harness {
            function: found.getattr(intern!(py, "function"))?.unbind(),
            expected: found.getattr(intern!(py, "expected"))?.extract()?,
            decode: found.getattr(intern!(py, "decode"))?.extract()?,
            making: Making::of(&found)?,
            host: host.clone().unbind(),
        })
    }
}

/// How one input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What became of it.
    pub outcome: Outcome,
    /// The exit status that `SystemExit` asked for.
    pub value: u32,
    /// A hash of the exception's type and of where it was raised; 0 for none.
    pub signature: u64,
}

impl Ended {
    const fn quietly(outcome: Outcome) -> Ended {
        Ended { outcome, value: 0, signature: 0 }
    }
}

/// Calls the harness with a copy of `input`, or with what it decodes to. With `report`, what is raised and not expected is also
/// told as text.
pub fn run(py: Python<'_>, harness: &Harness, input: &[u8], report: Option<&mut String>) -> Ended {
    // SAFETY: we are attached; the pointers are those of live objects. The input is copied: the
    // batch file can change while somebody holds the object.
    unsafe {
        let mut value = ffi::PyBytes_FromStringAndSize(input.as_ptr().cast(), input.len() as ffi::Py_ssize_t);
        if let Some(decode) = &harness.decode
            && !value.is_null()
        {
            let bytes = value;
            value = barrier::call_one(decode.as_ptr(), bytes);
            ffi::Py_DECREF(bytes);
            if value.is_null() && ffi::PyErr_ExceptionMatches(ffi::PyExc_Exception) != 0 {
                barrier::clear_error();
                return Ended::quietly(Outcome::Rejected);
            }
        }
        if !value.is_null() {
            let result = barrier::call_one(harness.function.as_ptr(), value);
            barrier::release(value);
            if !result.is_null() {
                barrier::release(result);
                return Ended::quietly(Outcome::Ok);
            }
            if ffi::PyErr_ExceptionMatches(harness.expected.as_ptr()) != 0 {
                barrier::clear_error();
                return Ended::quietly(Outcome::Rejected);
            }
        }
    }
    raised(py, harness, report)
}

/// Judges the exception that is set.
#[cold]
fn raised(py: Python<'_>, harness: &Harness, report: Option<&mut String>) -> Ended {
    // A call that failed without an exception is a bug of the extension; CPython makes it a
    // SystemError where it sees it.
    let error = PyErr::fetch(py);
    if let Some(report) = report {
        *report = describe(py, harness, &error);
    }
    let (outcome, value) = if error.is_instance_of::<PyMemoryError>(py) {
        (Outcome::OutOfMemory, 0)
    } else if error.is_instance_of::<PySystemExit>(py) {
        (Outcome::Exit, exit_status(py, &error))
    } else {
        (Outcome::Exception, 0)
    };
    Ended { outcome, value, signature: signature(py, &error) }
}

/// The status that the process would have ended with: none is 0, a number is cut to a byte as by the
/// system, anything else is printed and is 1.
fn exit_status(py: Python<'_>, error: &PyErr) -> u32 {
    match error.value(py).getattr(intern!(py, "code")) {
        Ok(code) if code.is_none() => 0,
        Ok(code) => code.extract::<i64>().map_or(1, |code| (code & 0xFF) as u32),
        Err(_) => 1,
    }
}

/// A hash of the type's name and of the places in its traceback, outermost first, each once: so an
/// endless recursion has one signature at any depth. Files go by their last name, which is the same
/// on every machine.
fn signature(py: Python<'_>, error: &PyErr) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(type_name(&error.get_type(py)).as_bytes());
    let mut seen: Vec<(String, String, u32)> = Vec::new();
    let mut next = error.traceback(py);
    while let Some(traceback) = next {
        if let Ok(place) = place(&traceback)
            && !seen.contains(&place)
        {
            seen.push(place);
        }
        if seen.len() == PLACES {
            break;
        }
        next = traceback.getattr(intern!(py, "tb_next")).ok().and_then(|next| next.cast_into::<PyTraceback>().ok());
    }
    for (file, function, line) in &seen {
        hash.update(&[0]);
        hash.update(file.as_bytes());
        hash.update(&[0]);
        hash.update(function.as_bytes());
        hash.update(&line.to_le_bytes());
    }
    hash.digest()
}

fn type_name(class: &Bound<'_, PyType>) -> String {
    let part =
        |name: PyResult<Bound<'_, PyString>>| name.map_or_else(|_| "?".into(), |n| n.to_string_lossy().into_owned());
    format!("{}.{}", part(class.module()), part(class.qualname()))
}

/// File name, function and line of one frame.
fn place(traceback: &Bound<'_, PyTraceback>) -> PyResult<(String, String, u32)> {
    let py = traceback.py();
    let code = traceback.getattr(intern!(py, "tb_frame"))?.getattr(intern!(py, "f_code"))?;
    let text = |value: Bound<'_, PyAny>| Ok::<_, PyErr>(value.cast::<PyString>()?.to_string_lossy().into_owned());
    let path = text(code.getattr(intern!(py, "co_filename"))?)?;
    let file = path.rsplit('/').next().unwrap_or(&path).to_owned();
    let function = text(code.getattr(intern!(py, "co_name"))?)?;
    Ok((file, function, traceback.getattr(intern!(py, "tb_lineno"))?.extract().unwrap_or(0)))
}

/// Python's collector is off in a child: it would run destructors in the middle of an input that has
/// nothing to do with them. When much has piled up it runs here, between inputs; says whether it did.
///
/// # Errors
/// What Python raises.
pub fn collect_garbage(py: Python<'_>) -> PyResult<bool> {
    let gc = py.import(intern!(py, "gc"))?;
    let (young, _, _): (i64, i64, i64) = gc.call_method0(intern!(py, "get_count"))?.extract()?;
    if young <= ALLOCATIONS {
        return Ok(false);
    }
    barrier::call_method(&gc, intern!(py, "collect"), (1,))?;
    Ok(true)
}

/// Collects what no reference leads to any more, however little it is.
///
/// # Errors
/// What Python raises.
pub fn collect_all_garbage(py: Python<'_>) -> PyResult<()> {
    let gc = py.import(intern!(py, "gc"))?;
    barrier::call_method(gc.as_any(), intern!(py, "collect"), ()).map(drop)
}

/// The exception as Python code sees it, its traceback attached: before 3.12 the interpreter keeps the
/// two apart until an `except` joins them.
pub fn whole<'py>(py: Python<'py>, error: &PyErr) -> Bound<'py, PyAny> {
    error.clone_ref(py).into_value(py).into_bound(py).into_any()
}

fn describe(py: Python<'_>, harness: &Harness, error: &PyErr) -> String {
    let told = barrier::call_method(harness.host.bind(py), intern!(py, "describe"), (whole(py, error),));
    let told = told.and_then(|text| text.extract::<String>());
    told.unwrap_or_else(|why| {
        format!("{}: (its traceback could not be written: {why})", type_name(&error.get_type(py)))
    })
}

/// What is told of a function of the harness that made no input: a headline, a blank line, and the traceback if
/// there is one.
pub fn describe_miss(py: Python<'_>, harness: &Harness, part: &str, error: Option<&PyErr>, wrong: &str) -> String {
    let error = error.map(|error| whole(py, error));
    let told = barrier::call_method(harness.host.bind(py), intern!(py, "describe_miss"), (part, error, wrong));
    let told = told.and_then(|text| text.extract::<String>());
    told.unwrap_or_else(|why| format!("{part} failed (how could not be written: {why})"))
}
