//! Registers at a signal, on AArch64.

use std::ffi::c_void;

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
    let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    Registers { pc: machine.pc, sp: machine.sp }
}

/// # Safety
/// As for [`read`].
pub unsafe fn write(context: *mut c_void, registers: Registers) {
    // SAFETY: the caller's word.
    let machine = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    machine.pc = registers.pc;
    machine.sp = registers.sp;
}

/// The registers as they were before the call that led to `here`, when nothing ran since: the call
/// left its return address in the link register.
///
/// # Safety
/// As for [`read`].
pub unsafe fn before_call(context: *mut c_void, here: Registers) -> Option<Registers> {
    // SAFETY: the caller's word.
    let link = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.regs[30] };
    Some(Registers { pc: link, sp: here.sp })
}
