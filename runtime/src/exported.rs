//! What the compiler's instrumentation calls in objects that were linked without our stub.
//!
//! Such an object announces its arrays one by one from its constructors. Guards join at once,
//! because they count nowhere until they are numbered. Inline arrays wait for the address table,
//! which comes last, or for the next call of the C API: their counters are in place and count
//! anyway. Whether they share pages with other data cannot be known, so they are never moved.

use hitmap_wire::identity::{self, Loaded};

use crate::abi;
use crate::late;
use crate::process::Process;
use crate::register::{self, Arrays, Span};

/// Announces guards.
///
/// # Safety
/// The range must be one array of guards in a loaded library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_trace_pc_guard_init(start: *mut u32, stop: *mut u32) {
    (abi::table().announce)(2, start.cast(), stop.cast());
}

/// Announces inline 8-bit counters.
///
/// # Safety
/// The range must be one array of counters in a loaded library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    (abi::table().announce)(0, start, stop);
}

/// Announces inline bool flags.
///
/// # Safety
/// The range must be one array of flags in a loaded library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_bool_flag_init(start: *mut u8, stop: *mut u8) {
    (abi::table().announce)(1, start, stop);
}

/// Announces the table of addresses; it comes after the arrays that it belongs to.
///
/// # Safety
/// The range must be one address table in a loaded library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_pcs_init(start: *const usize, stop: *const usize) {
    (abi::table().announce)(3, start.cast_mut().cast(), stop.cast_mut().cast());
}

/// The four announcements in one: 0 counters, 1 flags, 2 guards, 3 addresses.
pub extern "C" fn announce(what: u32, start: *mut u8, stop: *mut u8) {
    if start.is_null() || start >= stop {
        return;
    }
    abi::locked((), |process| {
        late::forget_unloaded(process);
        let Some(library) = identity::holding(start as usize) else { return };
        let at = match process.pending.iter().position(|(_, arrays)| lie_in(arrays, &library)) {
            Some(at) => at,
            None if what == 3 => return,
            None => {
                process.pending.push((library.identity, Arrays::NONE));
                process.pending.len() - 1
            }
        };
        let arrays = &mut process.pending[at].1;
        match what {
            0 => arrays.counters = Span { start, stop },
            1 => arrays.flags = Span { start, stop },
            2 => arrays.guards = Span { start: start.cast(), stop: stop.cast() },
            _ => arrays.pcs = Span { start: start.cast(), stop: stop.cast() },
        }
        match what {
            2 => {
                let only_guards = Arrays { guards: arrays.guards, ..Arrays::NONE };
                register::join(process, only_guards);
            }
            3 => {
                let (_, all) = process.pending.swap_remove(at);
                register::join(process, all);
            }
            _ => {}
        }
    });
}

fn lie_in(arrays: &Arrays, library: &Loaded) -> bool {
    arrays.address().is_some_and(|at| (library.span.0..library.span.1).contains(&(at as u64)))
}

/// Lets everything join that was announced and still waits.
pub fn join_pending(process: &mut Process) {
    for (_, arrays) in std::mem::take(&mut process.pending) {
        register::join(process, arrays);
    }
}

/// Forgets what was announced by libraries that are gone: another one may lie there by now.
pub fn forget_unloaded(process: &mut Process) {
    process.pending.retain(|(identity, arrays)| {
        arrays.address().and_then(identity::holding).is_some_and(|library| library.identity == *identity)
    });
}
