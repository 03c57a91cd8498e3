//! The witness: stands in front of the functions by which a target ends, or hides its end.
//!
//! A worker's process is started with it in `LD_PRELOAD`, so the target's calls come here first. Until
//! the child says what it wants to hear ([`hitmap_wire::witness`]), and in every process that is none of
//! ours, each call goes on to the function that it meant. The witness keeps nothing and decides nothing;
//! a worker that is started without it works as well and leaves less evidence.
//!
//! | module | stands in front of |
//! |---|---|
//! | [`signals`] | `sigaction` and its older siblings, signal masks |
//! | [`threads`] | `pthread_create` |
//! | [`ends`] | `_exit`, `pthread_exit` |
//! | [`throws`] | `__cxa_throw`, `std::set_terminate`, `std::get_terminate` |

mod ends;
mod real;
mod signals;
mod threads;
mod throws;

use std::sync::atomic::{AtomicPtr, Ordering};

use hitmap_wire::witness::{Hooks, Real, VERSION};

static HOOKS: AtomicPtr<Hooks> = AtomicPtr::new(std::ptr::null_mut());

/// What the child wants to hear, once it does.
#[inline]
fn hooks() -> Option<&'static Hooks> {
    // SAFETY: null, or what `hitmap_witness_arm` was given: hooks that live as long as the process.
    unsafe { HOOKS.load(Ordering::Acquire).as_ref() }
}

/// An [`hitmap_wire::witness::Arm`].
///
/// # Safety
/// `hooks` is null, or lives as long as the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitmap_witness_arm(version: u32, hooks: *const Hooks) -> *const Real {
    static REAL: Real = Real { action: real::action, mask: real::mask, find: throws::find };
    if version != VERSION {
        return std::ptr::null();
    }
    HOOKS.store(hooks.cast_mut(), Ordering::Release);
    &REAL
}
