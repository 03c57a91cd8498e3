//! The entries, on AArch64: they add the caller's address, and leave no frame behind.

use std::arch::naked_asm;

/// In front of the C++ library's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn __cxa_throw() {
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-48]!",
        ".cfi_def_cfa_offset 48",
        ".cfi_offset w29, -48",
        ".cfi_offset w30, -40",
        "stp x0, x1, [sp, #16]",
        "str x2, [sp, #32]",
        "mov x2, x30",
        "bl {throws}",
        "mov x16, x0",
        "ldr x2, [sp, #32]",
        "ldp x0, x1, [sp, #16]",
        "ldp x29, x30, [sp], #48",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore w29",
        ".cfi_restore w30",
        "br x16",
        ".cfi_endproc",
        throws = sym super::throws,
    )
}

/// `std::set_terminate`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "a mangled name")]
pub extern "C" fn _ZSt13set_terminatePFvvE() {
    naked_asm!("mov x1, x30", "b {set}", set = sym super::set_terminate)
}

/// `std::get_terminate`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "a mangled name")]
pub extern "C" fn _ZSt13get_terminatev() {
    naked_asm!("mov x0, x30", "b {get}", get = sym super::get_terminate)
}
