//! The control block: what an instrumented library says of itself, and what the runtime tells it.
//!
//! Declared once more, in C, in `runtime/stub/hitmap_control.h`. Libraries carry the block they were
//! built with for years: fields are appended and never moved, [`Control::size`] tells which are
//! there, and a block of another [`VERSION`] is refused with a sentence.

use hitmap_wire::comparisons::Log;

use crate::guards::Plane;

/// The version of this layout.
pub const VERSION: u32 = 1;
/// The bytes of the shortest block: fields from [`Control::comparisons`] on may be absent.
pub const LEAST: usize = std::mem::offset_of!(Control, comparisons);

/// One library's control block, in its own writable memory.
#[repr(C)]
pub struct Control {
    /// [`VERSION`].
    pub version: u32,
    /// Bytes of the block.
    pub size: u32,
    /// Inline 8-bit counters: start, stop, and the end of the pages that hold nothing else (null:
    /// they share pages with other data).
    pub counters: [*mut u8; 3],
    /// Inline bool flags, likewise.
    pub flags: [*mut u8; 3],
    /// Guards: start, stop.
    pub guards: [*mut u32; 2],
    /// Addresses: start, stop; two words an edge.
    pub pcs: [*const usize; 2],
    /// The live plane's counters; the hidden callback counts here.
    pub live: *mut u8,
    /// The live plane; the hidden callback journals here.
    pub plane: *const Plane,
    /// What the library calls before it is unloaded.
    pub leave: Option<extern "C" fn(*mut Control)>,
    /// The block's own address: wrong until the loader has relocated the library, so a block that
    /// is found too early is seen to be so.
    pub this: *mut Control,
    /// The region's comparison log, for the callbacks of a comparison build.
    pub comparisons: *const Log,
    /// What the hidden callback calls at the first touch of an edge, when somebody asked.
    pub touched: Option<extern "C" fn(u32)>,
}

impl Control {
    /// Tells the library where the comparison log is, if its block has a place for it.
    ///
    /// # Safety
    /// `block` must be a control block of [`VERSION`] in loaded memory, and `log` one that is never
    /// freed.
    pub unsafe fn tell_comparisons(block: *mut Control, log: *const Log) {
        // SAFETY: the caller's word; the field is written only when the block's size covers it. A
        // callback reads the word at once, on any thread.
        unsafe {
            if (*block).size as usize >= std::mem::offset_of!(Control, touched) {
                (&raw mut (*block).comparisons).write_volatile(log);
            }
        }
    }

    /// Has the library call `told` at the first touch of an edge; false when its block has no place
    /// for that.
    ///
    /// # Safety
    /// `block` must be a control block of [`VERSION`] in loaded memory.
    pub unsafe fn tell_of_touches(block: *mut Control, told: extern "C" fn(u32)) -> bool {
        // SAFETY: as above.
        unsafe {
            let has_place = (*block).size as usize >= size_of::<Control>();
            if has_place {
                (&raw mut (*block).touched).write_volatile(Some(told));
            }
            has_place
        }
    }
}

const _: () = assert!(LEAST == 120);
const _: () = assert!(std::mem::offset_of!(Control, touched) == 128);
const _: () = assert!(size_of::<Control>() == 136);
const _: () = assert!(std::mem::offset_of!(Control, guards) == 56);
const _: () = assert!(std::mem::offset_of!(Control, live) == 88);
const _: () = assert!(std::mem::offset_of!(Control, this) == 112);
