//! Where a callback was called from, which only the machine knows: one file for each.

#[cfg(target_arch = "aarch64")]
#[path = "site/aarch64.rs"]
mod machine;
#[cfg(target_arch = "x86_64")]
#[path = "site/x86_64.rs"]
mod machine;

pub(crate) use machine::third_argument;
