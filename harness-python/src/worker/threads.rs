//! Whether the target has threads: they do not survive a fork, and count while the map is read.

use std::ffi::c_char;
use std::ptr::NonNull;

/// Threads that are alive besides the calling one.
pub fn others() -> u64 {
    std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count().saturating_sub(1) as u64)
}

/// Answers, run by run, whether threads may have counted while the map was read.
pub struct Threads {
    /// glibc's `__libc_single_threaded`, which is not 0 as long as no thread was ever started; older
    /// ones, and other C libraries, have none.
    single: Option<NonNull<c_char>>,
    had: bool,
}

impl Threads {
    /// Looks for what the C library knows.
    pub fn new() -> Threads {
        // SAFETY: the name is a C string.
        let single = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
        Threads { single: NonNull::new(single.cast()), had: false }
    }

    /// Whether other threads are alive, or were when this was asked last.
    pub fn count_meanwhile(&mut self) -> bool {
        let has = !self.is_single() && others() > 0;
        std::mem::replace(&mut self.had, has) || has
    }

    fn is_single(&self) -> bool {
        // SAFETY: the C library's variable of this name is a `char`. Other threads write it when they
        // start one themselves, and then there are several either way.
        self.single.is_some_and(|single| unsafe { single.read_volatile() } != 0)
    }
}
