//! Registers at a signal, on x86-64.

use std::ffi::c_void;

use super::crash::peek;

/// Program counter and stack pointer.
#[derive(Clone, Copy)]
pub struct Registers {
    pub pc: u64,
    pub sp: u64,
}

/// # Safety
/// `context` must be what the kernel passed to a handler.
pub unsafe fn read(context: *mut c_void) -> Registers {
    // SAFETY: the caller's word.
    let all = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    Registers { pc: all[libc::REG_RIP as usize] as u64, sp: all[libc::REG_RSP as usize] as u64 }
}

/// # Safety
/// As for [`read`].
pub unsafe fn write(context: *mut c_void, registers: Registers) {
    // SAFETY: the caller's word.
    let all = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    all[libc::REG_RIP as usize] = registers.pc as i64;
    all[libc::REG_RSP as usize] = registers.sp as i64;
}

/// The registers as they were before the call that led to `here`, when nothing ran since: the call
/// left its return address on top of the stack.
///
/// # Safety
/// As for [`read`].
pub unsafe fn before_call(_context: *mut c_void, here: Registers) -> Option<Registers> {
    Some(Registers { pc: peek(here.sp)?, sp: here.sp.wrapping_add(8) })
}
