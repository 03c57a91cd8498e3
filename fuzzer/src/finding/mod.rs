//! Findings: told apart, named, kept.
//!
//! [`raw`] is the cheap first look, in the loop. What is new by it is run again in a fresh child,
//! [`symbolize`]d, joined with [`python`]'s stack and described in a [`report`], whose signature is
//! the second look; [`save`] keeps it, once for the whole campaign, and [`kept`] lists what there is.

pub mod kept;
pub mod python;
pub mod raw;
pub mod report;
pub mod save;
pub mod symbolize;
