//! The native half of the Python package `hitmap`: `hitmap._native`.
//!
//! Private to the package: `python/hitmap/` is the face, and `_native.pyi` says what crosses the
//! border. Modules stand in the order a byte travels.
//!
//! | module | owns |
//! |---|---|
//! | [`runtime`] | the C ABI of the runtime in this process |
//! | [`coverage`] | that ABI as Python functions |
//! | [`places`] | edges' places in the source |
//! | [`snapshot`] | owned maps: files, merging, comparing |
//! | [`isolated`] | one run in a forked child, with a map of its own |
//! | [`history`] | what a series of runs has covered, and what each adds |
//! | [`disk`] | reading files that somebody else may have made |
//! | [`mutate`] | hitmap's own mutators, for those of a harness |
//! | [`worker`] | the fork server and its child, the part of a campaign that runs the target |
//! | [`cli`] | the command line |

mod cli;
mod coverage;
mod disk;
mod history;
mod isolated;
mod mutate;
mod places;
mod runtime;
mod snapshot;
mod worker;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::cli::cli;
    #[pymodule_export]
    use crate::coverage::{Module, copy, hits, merge, modules, place, pop, push, reset, restore, total};
    #[pymodule_export]
    use crate::disk::read_file;
    #[pymodule_export]
    use crate::history::History;
    #[pymodule_export]
    use crate::isolated::Twin;
    #[pymodule_export]
    use crate::mutate::mutate;
    #[pymodule_export]
    use crate::places::Place;
    #[pymodule_export]
    use crate::runtime::load_runtime;
    #[pymodule_export]
    use crate::snapshot::{Snapshot, venn};
    #[pymodule_export]
    use crate::worker::crash::witness::has_witness;
    #[pymodule_export]
    use crate::worker::sanitizer::has_sanitizer;
    #[pymodule_export]
    use crate::worker::{serve, serve_afl, take_sample};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("SAMPLE_SIGNAL", hitmap_wire::control::sample_signal())?;
        module.add("STACK_SIGNAL", crate::worker::sanitizer::stack_signal())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
