//! `hitmap.mutate`: the engine's mutation by chance, for mutators in Python.
//!
//! Each thread has one mutator with a generator of its own. In a worker the generator is seeded before each
//! call of the harness's functions, so that `--seed` repeats them.

use std::cell::RefCell;

use hitmap_fuzzer::engine::havoc::Lone;
use hitmap_wire::region;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

thread_local! {
    static LONE: RefCell<Option<Lone>> = const { RefCell::new(None) };
}

/// Seeds what `hitmap.mutate` does next in this thread.
pub fn seed(seed: u64) {
    LONE.with_borrow_mut(|lone| {
        if let Some(lone) = lone {
            lone.seed(seed);
        } else {
            // Whoever mutates learns of the error.
            *lone = Lone::new(seed).ok();
        }
    });
}

/// A changed copy of `data`, of at most `max_size` bytes, by the mutators of hitmap's engine.
///
/// With `seed` the result follows from the arguments. Without one, inside a harness's mutator, it follows
/// from the campaign's seed, and elsewhere it is left to chance.
#[pyfunction]
#[pyo3(signature = (data, max_size, *, seed=None))]
pub fn mutate<'py>(
    py: Python<'py>,
    data: PyBackedBytes,
    max_size: usize,
    seed: Option<u64>,
) -> PyResult<Bound<'py, PyBytes>> {
    let made = LONE.with_borrow_mut(|lone| {
        if lone.is_none() {
            *lone = Some(Lone::new(region::fresh_token())?);
        }
        let lone = lone.as_mut().expect("it was just made");
        match seed {
            Some(seed) => Lone::new(seed)?.mutate(&data, max_size),
            None => lone.mutate(&data, max_size),
        }
    });
    let made = made.map_err(|error: hitmap_fuzzer::engine::Error| PyRuntimeError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &made))
}
