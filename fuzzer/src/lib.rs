//! The engine of hitmap as a library, and its command line.
//!
//! In the order in which a campaign comes about: [`cli`] turns what was typed into [`settings`],
//! [`launcher`] starts one engine process a core, [`engine`] schedules, mutates and judges,
//! [`worker`] runs inputs in a Python fork server, [`finding`] names what went wrong and
//! [`campaign`] keeps it all in a folder. Files are read and made by [`disk`] alone.

#![deny(missing_docs)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod campaign;
pub mod cli;
pub mod disk;
pub mod engine;
pub mod error;
pub mod finding;
pub mod launcher;
pub mod print;
pub mod settings;
pub mod trust;
pub mod worker;

pub use launcher::Front;
