//! The return address lies in x30 when a function begins.

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
            std::arch::naked_asm!("mov x2, x30", "b {to}", to = sym $to)
        }
    };
}
pub(crate) use third_argument;
