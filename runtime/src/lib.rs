//! The runtime: the part of hitmap that lives in the target process, once.
//!
//! The story of one edge. A compiler gave an instrumented library an array of counters, flags or
//! guards; the object that the compiler wrapper adds (`runtime/stub`) says in a [`control`] block
//! where they lie. When library and runtime have met, whichever came first ([`late`]), the library
//! is given a range of edges in the one region of this [`process`] ([`register`]): its counters are
//! moved onto the region's pages ([`inline`]), its guards are numbered ([`guards`]). Objects that
//! were linked without that object call the [`exported`] functions instead. From then on
//! instrumented code touches memory and nothing else; a comparison build also tells what it compared
//! ([`comparisons`]). Readers inside the process have a [`view`] of their own, which the C functions
//! of `hitmap.h` ([`abi`]) read, put aside and merge; a run in a forked child can have a map of its
//! own ([`twin`]). [`memcov`] and [`covmap`] are the calls that two older tools' users know.
//!
//! Owns the process's mapping of the region. Knows nothing of engines, inputs or files. Callbacks
//! do not allocate, lock, panic or format: they may run before `main`, after `exit`, on any thread
//! and inside `malloc`. Everything else runs under one lock and never lets a panic out.

pub mod abi;
pub mod comparisons;
pub mod control;
pub mod covmap;
pub mod exported;
pub mod guards;
pub mod inline;
pub mod late;
pub mod memcov;
pub mod process;
pub mod register;
pub mod saved;
pub mod say;
mod site;
pub mod symbols;
pub mod twin;
pub mod view;
pub mod xxh3;
