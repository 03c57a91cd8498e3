//! What a child writes down while something goes wrong: numbers and bytes only, so that a signal
//! handler can do it.
//!
//! [`DeathNote`] says how the child ended and with which stack. [`SampleNote`] is one look at the
//! stack of a run that takes too long. Both hold a [`StackNote`]. The engine reads them as [`Death`]
//! and [`Sample`], which are copied out and checked.

use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Return addresses that a stack keeps, from the innermost.
pub const FRAMES: usize = 128;
/// Return addresses that a deeper stack keeps besides, from the outermost.
pub const OUTER_FRAMES: usize = 64;
/// Looks at a run that takes too long.
pub const SAMPLES: usize = 16;
/// Bytes of a C++ type's mangled name.
pub const TYPE: usize = 256;
/// Bytes of what was said at the end: the text of an exception, or of glibc's abort message.
pub const TEXT: usize = 1024;
/// In [`StackNote::interrupted`]: no signal handler is on the stack.
pub const NO_FRAME: u32 = u32::MAX;

/// In [`DeathNote::flags`]: the fault hit the end of the thread's stack.
pub const STACK_ENDED: u32 = 1;
/// In [`DeathNote::flags`]: another process sent the signal.
pub const FROM_OUTSIDE: u32 = 2;
/// In [`DeathNote::flags`]: the exception that nobody caught is a `std::bad_alloc`.
pub const BAD_ALLOC: u32 = 4;

/// In [`DeathNote::flags`]: no library's code stands on the stack between the end and the Python code that led there,
/// so Python's stack says which bug it is.
pub const PYTHON_TELLS: u32 = 8;

/// In [`DeathNote::flags`]: the exception was thrown elsewhere, and thrown on by what stands on the stack. The first
/// frame is the place where it was thrown first.
pub const THROWN_ON: u32 = 16;

/// Which event wrote a death note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum How {
    /// A fatal signal.
    Signal = 1,
    /// A sanitizer's death callback.
    Report = 2,
    /// `std::terminate`.
    Terminate = 3,
    /// `exit`, `quick_exit`, `_exit`.
    Exit = 4,
}

impl How {
    fn from_code(code: u32) -> Option<How> {
        [How::Signal, How::Report, How::Terminate, How::Exit].into_iter().find(|how| *how as u32 == code)
    }
}

/// A stack of return addresses. A frame that a signal interrupted is stored as its address plus one,
/// so that "the address minus one" lies in the code of every frame.
#[repr(C)]
pub struct StackNote {
    /// Frames in [`StackNote::frames`].
    pub len: AtomicU32,
    /// Frames in [`StackNote::outer`]: none, unless the stack is deeper than [`FRAMES`].
    pub outer_len: AtomicU32,
    /// The index of the outermost frame that a signal interrupted; what stands before it are
    /// handlers. [`NO_FRAME`] for none.
    pub interrupted: AtomicU32,
    /// Frames of the whole stack, as far as it was walked.
    pub depth: AtomicU32,
    /// From the innermost.
    pub frames: [AtomicU64; FRAMES],
    /// The outermost frames, in the same order: the last one is the outermost.
    pub outer: [AtomicU64; OUTER_FRAMES],
}

/// A stack, copied out and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// Return addresses, innermost first.
    pub frames: Vec<u64>,
    /// The outermost return addresses of a deeper stack, in the same order.
    pub outer: Vec<u64>,
    /// The index of the outermost frame that a signal interrupted.
    pub interrupted: Option<usize>,
    /// Frames of the whole stack, as far as it was walked.
    pub depth: usize,
}

impl StackNote {
    /// Copies it out.
    pub fn read(&self) -> Stack {
        let load = |len: &AtomicU32, frames: &[AtomicU64]| -> Vec<u64> {
            let len = (len.load(Ordering::Relaxed) as usize).min(frames.len());
            frames[..len].iter().map(|frame| frame.load(Ordering::Relaxed)).collect()
        };
        let frames = load(&self.len, &self.frames);
        let interrupted = self.interrupted.load(Ordering::Relaxed) as usize;
        Stack {
            outer: load(&self.outer_len, &self.outer),
            interrupted: (interrupted < frames.len()).then_some(interrupted),
            depth: self.depth.load(Ordering::Relaxed) as usize,
            frames,
        }
    }
}

/// How the child ended. Written by whoever notices first; [`DeathNote::how`] is stored last.
#[repr(C)]
pub struct DeathNote {
    /// A [`How`]; 0 means that there is no note.
    pub how: AtomicU32,
    /// The signal; 0 for none.
    pub signal: AtomicU32,
    /// `si_code`.
    pub code: AtomicI32,
    /// [`STACK_ENDED`], [`FROM_OUTSIDE`], [`BAD_ALLOC`], [`PYTHON_TELLS`], [`THROWN_ON`].
    pub flags: AtomicU32,
    /// `si_addr`.
    pub address: AtomicU64,
    /// The process that sent the signal; 0 when the kernel raised it.
    pub sender: AtomicU32,
    /// The thread that ended the process.
    pub thread: AtomicU32,
    /// Bytes in [`DeathNote::thrown`].
    pub thrown_len: AtomicU32,
    /// Bytes in [`DeathNote::text`].
    pub text_len: AtomicU32,
    /// Where it happened.
    pub stack: StackNote,
    /// The mangled name of the C++ exception's type that nobody caught.
    pub thrown: [AtomicU8; TYPE],
    /// Its `what()`, or glibc's abort message.
    pub text: [AtomicU8; TEXT],
}

/// A death note, copied out and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Which event wrote it.
    pub how: How,
    /// The signal; 0 for none.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// [`STACK_ENDED`], [`FROM_OUTSIDE`], [`BAD_ALLOC`], [`PYTHON_TELLS`], [`THROWN_ON`].
    pub flags: u32,
    /// `si_addr`.
    pub address: u64,
    /// The process that sent the signal; 0 when the kernel raised it.
    pub sender: u32,
    /// The thread that ended the process.
    pub thread: u32,
    /// Where it happened.
    pub stack: Stack,
    /// The mangled name of the C++ exception's type that nobody caught; empty for none.
    pub thrown: String,
    /// Its `what()`, or glibc's abort message; empty for none.
    pub text: String,
}

impl Death {
    /// Whether a flag is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

impl DeathNote {
    /// Copies it out; `None` when there is none.
    pub fn read(&self) -> Option<Death> {
        let how = How::from_code(self.how.load(Ordering::Acquire))?;
        Some(Death {
            how,
            signal: self.signal.load(Ordering::Relaxed) as i32,
            code: self.code.load(Ordering::Relaxed),
            flags: self.flags.load(Ordering::Relaxed),
            address: self.address.load(Ordering::Relaxed),
            sender: self.sender.load(Ordering::Relaxed),
            thread: self.thread.load(Ordering::Relaxed),
            stack: self.stack.read(),
            thrown: text(&self.thrown_len, &self.thrown),
            text: text(&self.text_len, &self.text),
        })
    }

    /// Forgets what is noted.
    pub fn clear(&self) {
        self.how.store(0, Ordering::Relaxed);
        for field in [&self.signal, &self.flags, &self.sender, &self.thread, &self.thrown_len, &self.text_len] {
            field.store(0, Ordering::Relaxed);
        }
        self.code.store(0, Ordering::Relaxed);
        self.address.store(0, Ordering::Relaxed);
        self.stack.len.store(0, Ordering::Relaxed);
        self.stack.outer_len.store(0, Ordering::Relaxed);
        self.stack.interrupted.store(NO_FRAME, Ordering::Relaxed);
        self.stack.depth.store(0, Ordering::Relaxed);
    }
}

fn text(len: &AtomicU32, bytes: &[AtomicU8]) -> String {
    let len = (len.load(Ordering::Relaxed) as usize).min(bytes.len());
    let bytes: Vec<u8> = bytes[..len].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// When a sample was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Moment {
    /// In a signal handler: wherever the thread was.
    Anywhere = 1,
    /// Where Python's interpreter runs signal handlers: between two bytecodes, or in native code that
    /// asks for it (`PyErr_CheckSignals`). The record [`super::RECORD_PYTHON`] of the same number has
    /// Python's stack.
    Python = 2,
}

/// One look at a run that takes too long.
#[repr(C)]
pub struct SampleNote {
    /// A [`Moment`]; stored last, 0 means that there is no sample.
    pub moment: AtomicU32,
    /// Keeps the stack aligned.
    pub reserved: u32,
    /// Where the thread was.
    pub stack: StackNote,
}

/// A sample, copied out and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was taken.
    pub moment: Moment,
    /// Where the thread was.
    pub stack: Stack,
    /// Python's stack, for a sample of [`Moment::Python`]: lines of a report, see
    /// [`super::RECORD_PYTHON`].
    pub python: String,
}

impl SampleNote {
    /// Copies moment and stack out; `None` when there is no sample.
    pub fn read(&self) -> Option<(Moment, Stack)> {
        let code = self.moment.load(Ordering::Acquire);
        let moment = [Moment::Anywhere, Moment::Python].into_iter().find(|moment| *moment as u32 == code)?;
        Some((moment, self.stack.read()))
    }
}
