//! Every byte that two hitmap processes agree on.
//!
//! Three processes take part in a run: the **engine** (a fuzzer, or any reader of the map), the
//! **server** (a Python process that imported the harness once) and a **child** (forked from the
//! server, it runs many inputs). They share three memory files and one socket; this crate holds the
//! layout of each, in the order in which one input meets them:
//!
//! | module | what is shared | who writes |
//! |---|---|---|
//! | [`control`] | socket messages: fork, kill, ready, exited | engine and server |
//! | [`batch`] | inputs of one wake-up, their verdicts, the note that a crash leaves | engine, then child |
//! | [`region`] | the map: one counter and one flag an edge, the journal | instrumented code |
//! | [`comparisons`] | what the run of one input compared, on request | instrumented code |
//! | [`modules`] | which library owns which range of edges | whoever registers, under a lock |
//! | [`identity`] | what names a library on every machine | nobody: it is computed |
//! | [`named`] | a region with a POSIX name | whoever opens it |
//! | [`sweep`] | how touched edges are read and cleared | reader |
//! | [`running`] | the same while the target runs on | reader |
//! | [`novelty`] | what a run touched that the history lacks | child |
//! | [`class`] | how a count becomes a hit class | nobody: it is computed |
//! | [`outcome`] | what became of one input | child and engine |
//! | [`witness`] | what the witness and the extension say to each other in one process | both |
//!
//! Whatever is read from shared memory is checked before use: the process on the other side runs
//! foreign code and may have gone mad. Layouts are `#[repr(C)]`, append-only and versioned; offsets
//! follow from the capacity alone, so no offset is ever taken from the other side.

#![deny(missing_docs)]

pub mod batch;
pub mod class;
pub mod comparisons;
pub mod control;
pub mod identity;
mod lanes;
pub mod mapping;
pub mod modules;
pub mod named;
pub mod novelty;
pub mod outcome;
pub mod region;
pub mod running;
pub mod sweep;
pub mod witness;

/// The size of a page, and the grain at which edge ranges are handed out: counters are moved onto
/// the region page by page.
pub const PAGE: usize = 4096;
