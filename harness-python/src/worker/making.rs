//! Inputs that the harness's own functions make: mutator, crossover, generator, and the encoding.
//!
//! Calls Python and checks what comes back. Knows nothing of slots and of what an input does later.

use hitmap_wire::batch::making::Maker;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use super::barrier;

use crate::mutate;

/// The functions that a harness brings along.
#[derive(Default)]
pub struct Making {
    mutator: Option<Py<PyAny>>,
    crossover: Option<Py<PyAny>>,
    generator: Option<Py<PyAny>>,
    decode: Option<Py<PyAny>>,
    encode: Option<Py<PyAny>>,
    /// `random.seed`.
    seed: Option<Py<PyAny>>,
}

/// What one call asks for.
pub struct Wanted<'a> {
    /// The function.
    pub maker: Maker,
    /// The seed of its chance.
    pub seed: u32,
    /// The input to change.
    pub first: &'a [u8],
    /// The other parent of a crossover.
    pub second: &'a [u8],
    /// How long the input may be.
    pub max_len: usize,
}

/// Why there is no input.
pub enum Miss {
    /// A parent does not decode.
    Undecodable,
    /// One of the functions raised.
    Raised(&'static str, PyErr),
    /// One of the functions gave what is no input: the sentence goes on after its name.
    Wrong(&'static str, String),
}

impl Making {
    /// The functions of `harness`, a `hitmap.Harness`.
    ///
    /// # Errors
    /// What Python raises.
    pub fn of(harness: &Bound<'_, PyAny>) -> PyResult<Making> {
        let py = harness.py();
        let part = |name: &str| Ok::<_, PyErr>(Some(harness.getattr(name)?.unbind()).filter(|part| !part.is_none(py)));
        let mut making = Making {
            mutator: part("mutator")?,
            crossover: part("crossover")?,
            generator: part("generator")?,
            decode: part("decode")?,
            encode: part("encode")?,
            seed: None,
        };
        if [Maker::Mutator, Maker::Crossover, Maker::Generator].iter().any(|maker| making.has(*maker)) {
            making.seed = Some(py.import("random")?.getattr("seed")?.unbind());
        }
        Ok(making)
    }

    /// Whether the harness brings this function.
    pub fn has(&self, maker: Maker) -> bool {
        self.function(maker).is_some()
    }

    /// Whether inputs are decoded.
    pub fn decodes(&self) -> bool {
        self.decode.is_some()
    }

    fn function(&self, maker: Maker) -> Option<&Py<PyAny>> {
        match maker {
            Maker::Mutator => self.mutator.as_ref(),
            Maker::Crossover => self.crossover.as_ref(),
            Maker::Generator => self.generator.as_ref(),
        }
    }

    /// Makes one input. All of its chance follows from the seed, as far as it comes from `random` or
    /// `hitmap.mutate`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn make(&self, py: Python<'_>, wanted: &Wanted<'_>) -> Result<Vec<u8>, Miss> {
        let Wanted { maker, seed, first, second, max_len } = *wanted;
        let name = maker.name();
        let raised = |error| Miss::Raised(name, error);
        let function = self.function(maker).ok_or_else(|| Miss::Wrong(name, "is not there".into()))?.bind(py);
        let (first, second) = match maker {
            Maker::Mutator => (Some(self.decoded(py, first)?), None),
            Maker::Crossover => (Some(self.decoded(py, first)?), Some(self.decoded(py, second)?)),
            Maker::Generator => (None, None),
        };
        if let Some(random) = &self.seed {
            random.call1(py, (seed,)).map_err(raised)?;
        }
        mutate::seed(seed.into());
        let made = match (first, second) {
            (Some(first), Some(second)) => barrier::call(function, (first, second, max_len, seed)),
            (Some(first), None) => barrier::call(function, (first, max_len, seed)),
            _ => barrier::call(function, (seed,)),
        };
        let made = made.map_err(raised)?;
        let (name, encoded) = match &self.encode {
            Some(encode) => {
                ("encode", barrier::call(encode.bind(py), (made,)).map_err(|error| Miss::Raised("encode", error))?)
            }
            None => (name, made),
        };
        let bytes = bytes_of(&encoded)
            .ok_or_else(|| Miss::Wrong(name, format!("returned {}, not bytes", kind_of(&encoded))))?;
        if bytes.len() > max_len {
            let text = format!("returned more than an input may have: {} bytes; --max-len is {max_len}", bytes.len());
            return Err(Miss::Wrong(name, text));
        }
        Ok(bytes)
    }

    /// Every call gets a value of its own, so a function may change what it is given.
    fn decoded<'py>(&self, py: Python<'py>, input: &[u8]) -> Result<Bound<'py, PyAny>, Miss> {
        let bytes = PyBytes::new(py, input).into_any();
        let Some(decode) = &self.decode else { return Ok(bytes) };
        barrier::call(decode.bind(py), (bytes,)).map_err(|error| {
            if error.is_instance_of::<PyException>(py) { Miss::Undecodable } else { Miss::Raised("decode", error) }
        })
    }
}

fn bytes_of(value: &Bound<'_, PyAny>) -> Option<Vec<u8>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Some(bytes.as_bytes().to_vec());
    }
    value.cast::<PyByteArray>().ok().map(|bytes| bytes.to_vec())
}

fn kind_of(value: &Bound<'_, PyAny>) -> String {
    let name = value.get_type().getattr(intern!(value.py(), "__qualname__")).and_then(|name| name.extract());
    name.unwrap_or_else(|_| "something".into())
}
