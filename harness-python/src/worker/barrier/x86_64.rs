//! The barrier's two frames, on x86-64.

use std::ffi::c_void;

core::arch::global_asm!(
    ".pushsection .text.hitmap_barrier,\"ax\",@progbits",
    ".balign 16",
    ".hidden hitmap_barrier",
    ".globl hitmap_barrier",
    ".type hitmap_barrier,@function",
    // No unwind information from here: this is where the stack ends.
    "hitmap_barrier:",
    "push rbp",
    "mov rbp, rsp",
    "call .Lhitmap_barrier_inside",
    "pop rbp",
    "ret",
    ".balign 16",
    ".Lhitmap_barrier_inside:",
    ".cfi_startproc",
    ".cfi_personality 0x1b, {personality}",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
    "mov r11, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov rcx, r8",
    // Vector registers that a variadic function gets.
    "xor eax, eax",
    "call r11",
    "pop rbp",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_endproc",
    ".hidden hitmap_barrier_end",
    ".globl hitmap_barrier_end",
    "hitmap_barrier_end:",
    ".size hitmap_barrier, . - hitmap_barrier",
    ".popsection",
    personality = sym super::personality,
);

unsafe extern "C" {
    /// Calls `function` with the four others; gives what it gives.
    pub fn hitmap_barrier(
        function: *const c_void,
        a: *mut c_void,
        b: *mut c_void,
        c: *mut c_void,
        d: *mut c_void,
    ) -> *mut c_void;
    /// One past the last byte of it.
    pub fn hitmap_barrier_end();
}
