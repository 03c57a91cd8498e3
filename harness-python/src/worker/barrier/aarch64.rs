//! The barrier's two frames, on AArch64.

use std::ffi::c_void;

core::arch::global_asm!(
    ".pushsection .text.hitmap_barrier,\"ax\",%progbits",
    ".balign 16",
    ".hidden hitmap_barrier",
    ".globl hitmap_barrier",
    ".type hitmap_barrier,%function",
    // No unwind information from here: this is where the stack ends.
    "hitmap_barrier:",
    "stp x29, x30, [sp, #-16]!",
    "mov x29, sp",
    "bl .Lhitmap_barrier_inside",
    "ldp x29, x30, [sp], #16",
    "ret",
    ".balign 16",
    ".Lhitmap_barrier_inside:",
    ".cfi_startproc",
    ".cfi_personality 0x1b, {personality}",
    "stp x29, x30, [sp, #-16]!",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset w29, -16",
    ".cfi_offset w30, -8",
    "mov x29, sp",
    ".cfi_def_cfa w29, 16",
    "mov x9, x0",
    "mov x0, x1",
    "mov x1, x2",
    "mov x2, x3",
    "mov x3, x4",
    "blr x9",
    "ldp x29, x30, [sp], #16",
    ".cfi_def_cfa wsp, 0",
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
