//! One call of the harness, and what became of it.
//!
//! The ordinary ends, a return and an expected exception, cost a few nanoseconds beyond the call and
//! make no Rust value of a Python one. Whatever the run left (result, exception, frames) is released
//! before the map is read, so that destructors count for the input that they belong to.

use hitmap_wire::outcome::Outcome;
use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::making::Making;
use super::raised::{Raised, whole};
use super::{barrier, origin};

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
    /// What is being handled while a run is traced, where that is needed.
    handled: Option<Py<PyAny>>,
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
            handled: (py.version_info() < (3, 12)).then(|| PyException::new_err(()).into_value(py).into_any()),
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
    /// Whether an exception that was not expected is how it ended.
    pub fn is_raised(&self) -> bool {
        self.outcome.is_finding()
    }

    /// A run that says no more than its outcome.
    pub const fn quietly(outcome: Outcome) -> Ended {
        Ended { outcome, value: 0, signature: 0 }
    }
}

/// Calls the harness with a copy of `input`, or with what it decodes to. What is raised and not expected stays set,
/// and there is no outcome: [`raised`] is to follow.
#[inline(always)]
pub fn run(_attached: Python<'_>, harness: &Harness, input: &[u8]) -> Option<Outcome> {
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
                return Some(Outcome::Rejected);
            }
        }
        if !value.is_null() {
            let result = barrier::call_one(harness.function.as_ptr(), value);
            // Bytes, and None, have no destructor of the target's.
            if harness.decode.is_none() {
                ffi::Py_DECREF(value);
            } else {
                barrier::release(value);
            }
            if !result.is_null() {
                if result == ffi::Py_None() {
                    ffi::Py_DECREF(result);
                } else {
                    barrier::release(result);
                }
                return Some(Outcome::Ok);
            }
            if ffi::PyErr_ExceptionMatches(harness.expected.as_ptr()) != 0 {
                barrier::clear_error();
                return Some(Outcome::Rejected);
            }
        }
    }
    None
}

/// Takes the exception that ended a run, shows it to `look`, and gives what that makes of it.
#[cold]
pub fn raised(py: Python<'_>, look: impl FnOnce(&Raised<'_>) -> Ended) -> Ended {
    let raised = Raised::fetch(py);
    let ended = look(&raised);
    raised.release();
    ended
}

/// [`run`], in which it is noted where exceptions are made.
///
/// Before 3.12, C code that raises leaves type and text, and the instance is made when somebody asks for it,
/// unless another exception is being handled. So one is.
pub fn run_traced(py: Python<'_>, harness: &Harness, input: &[u8], look: impl FnOnce(&Raised<'_>) -> Ended) -> Ended {
    let handled = harness.handled.as_ref();
    if let Some(handled) = handled {
        handle(py, Some(handled));
    }
    origin::begin();
    let outcome = run(py, harness, input);
    origin::end();
    if handled.is_some() {
        handle(py, None);
    }
    let ended = outcome.map_or_else(
        || {
            raised(py, |raised| {
                if let Some(handled) = handled {
                    raised.forget_context(handled.bind(py));
                }
                look(raised)
            })
        },
        Ended::quietly,
    );
    origin::forget();
    ended
}

/// Makes `error` the exception that is being handled here.
fn handle(py: Python<'_>, error: Option<&Py<PyAny>>) {
    let none = std::ptr::null_mut();
    // SAFETY: attached; references are given away, as the function wants it.
    unsafe {
        match error {
            Some(error) => {
                let class = error.bind(py).get_type().into_ptr();
                ffi::PyErr_SetExcInfo(class, error.clone_ref(py).into_ptr(), none);
            }
            None => ffi::PyErr_SetExcInfo(none, none, none),
        }
    }
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

/// What is told of a function of the harness that made no input: a headline, a blank line, and the traceback if
/// there is one.
pub fn describe_miss(py: Python<'_>, harness: &Harness, part: &str, error: Option<&PyErr>, wrong: &str) -> String {
    let error = error.map(|error| whole(py, error.clone_ref(py)));
    let told = barrier::call_method(harness.host.bind(py), intern!(py, "describe_miss"), (part, error, wrong));
    let told = told.and_then(|text| text.extract::<String>());
    told.unwrap_or_else(|why| format!("{part} failed (how could not be written: {why})"))
}
