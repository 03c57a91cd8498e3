//! The return address lies on top of the stack when a function begins.

/// Exports a function of two arguments that hands them on, with the address after the call as the
/// third.
macro_rules! third_argument {
    ($name:ident, ($left:ty, $right:ty), $to:ident, $says:literal) => {
        #[doc = $says]
        ///
        /// # Safety
        /// Called by instrumented code alone.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(left: $left, right: $right) {
            std::arch::naked_asm!("mov rdx, [rsp]", "jmp {to}", to = sym $to)
        }
    };
}
pub(crate) use third_argument;
