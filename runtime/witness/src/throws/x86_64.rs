//! The entries, on x86-64: they add the caller's address, and leave no frame behind.

use std::arch::naked_asm;

/// In front of the C++ library's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn __cxa_throw() {
    naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        "push rdx",
        ".cfi_adjust_cfa_offset 8",
        "mov rdx, [rsp + 24]",
        "call {throws}",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp rax",
        ".cfi_endproc",
        throws = sym super::throws,
    )
}

/// `std::set_terminate`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "a mangled name")]
pub extern "C" fn _ZSt13set_terminatePFvvE() {
    naked_asm!("mov rsi, [rsp]", "jmp {set}", set = sym super::set_terminate)
}

/// `std::get_terminate`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "a mangled name")]
pub extern "C" fn _ZSt13get_terminatev() {
    naked_asm!("mov rdi, [rsp]", "jmp {get}", get = sym super::get_terminate)
}
