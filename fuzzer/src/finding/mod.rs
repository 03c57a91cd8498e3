//! Findings: told apart, named, kept.
//!
//! | module | owns |
//! |---|---|
//! | [`raw`] | the cheap first look, in the loop: what is known by it is not run again |
//! | [`symbolize`] | names for raw addresses |
//! | [`owner`] | whose code a frame is |
//! | [`function`] | a function's name without its arguments |
//! | [`python`] | Python's half of a stack |
//! | [`log`] | what the target wrote as it died |
//! | [`hang`] | what stays on the stack of a run that does not end |
//! | [`identity`] | which bug it is: the one rule, and the signature |
//! | [`title`] | one line for people |
//! | [`stack`] | stacks for people |
//! | [`report`] | all of it together |
//! | [`save`] | the folder of a finding, once for the whole campaign |
//! | [`kept`] | the findings that there are |

pub mod function;
pub mod hang;
pub mod identity;
pub mod kept;
pub mod log;
pub mod owner;
pub mod python;
pub mod raw;
pub mod report;
pub mod save;
pub mod stack;
pub mod symbolize;
pub mod title;
