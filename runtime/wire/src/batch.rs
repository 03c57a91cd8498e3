//! Inputs that travel together, and what the child says of each.
//!
//! ```text
//! offset 0     Header           one page: what is asked, how far the child is, the crash note
//!        ...   Slot x 4096      one an input: where it lies, what became of it
//!        ...   Object x 512     which file lies where in the child, to name raw addresses later
//!        ...   report           text: the traceback of one input, or why the worker did not start
//!        ...   arena            the inputs, one after the other
//! ```
//!
//! One wake-up carries up to [`SLOTS`] inputs. The engine fills slots and arena, sets `phase` and
//! `count`, and wakes the child. The child raises `cur` before each input, so that a death or a hang
//! names its input, and sets it to the number that it ran when it is through: all, unless the engine
//! set `enough` meanwhile. Afterwards the engine reads slots up to `cur`. Nothing in here is trusted by either side; inputs stay the engine's own copy.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub mod making;

use crate::PAGE;
use crate::identity::Identity;
use crate::mapping::{self, Access, Mapping};
use crate::outcome::Outcome;

/// What a batch file starts with.
pub const MAGIC: u64 = u64::from_le_bytes(*b"hitmap\0B");
/// The version of this layout.
pub const VERSION: u32 = 1;
/// Inputs that one wake-up carries at the most.
pub const SLOTS: usize = 4096;
/// Files that the child can describe.
pub const OBJECTS: usize = 512;
/// Bytes of report text.
pub const REPORT: usize = 256 << 10;
/// Return addresses that a crash note keeps.
pub const FRAMES: usize = 128;
/// The default size of the arena, in bytes, and so the longest input that fits.
pub const DEFAULT_ARENA: u32 = 16 << 20;

/// [`Header::cur`] before the child has come to the first input.
pub const NOWHERE: u32 = u32::MAX;

/// Run every input and report only what is new or a finding; leave the map clean.
pub const PHASE_RUN: u32 = 1;
/// Run one input, leave its counts in the map, and write a report when it raises.
pub const PHASE_OBSERVE: u32 = 2;
/// Let the harness's own functions make inputs, run nothing: the engine copies what was made before it
/// asks for it to be run, so a crash loses none. [`making`] has what the slots say then.
pub const PHASE_MUTATE: u32 = 3;
/// RUN, with a look at the clock around each part of each run: for those who ask where the time goes.
pub const PHASE_TIME: u32 = 4;

/// What a signal handler stores: numbers only, so that it is safe to do anywhere.
#[repr(C)]
pub struct CrashNote {
    /// The signal; stored last, 0 means that there is no note.
    pub signal: AtomicU32,
    /// `si_code`.
    pub code: AtomicU32,
    /// `si_addr`.
    pub address: AtomicU64,
    /// Frames that are stored.
    pub frames_len: AtomicU32,
    /// Keeps the frames aligned.
    pub reserved: u32,
    /// Return addresses, innermost first.
    pub frames: [AtomicU64; FRAMES],
}

/// How heavy a child is, and whose weight it is.
#[repr(C)]
pub struct WeightNote {
    /// Inputs that it had run by then, in batches; stored last, 0 means that there is no note.
    pub runs: AtomicU64,
    /// Resident memory, in KiB.
    pub resident_kib: AtomicU64,
    /// Bytes in use on the C heap; 0 when that is not known.
    pub heap: AtomicU64,
    /// Blocks that Python's own allocator has given out.
    pub blocks: AtomicU64,
}

/// The first page of a batch file.
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// Bytes of arena.
    pub arena_len: u32,
    /// Engine: what to do with the slots.
    pub phase: AtomicU32,
    /// Engine: slots that are filled.
    pub count: AtomicU32,
    /// Child: the slot it works on; when it is through, the number of slots that it ran. The engine
    /// sets [`NOWHERE`] before it wakes the child.
    pub cur: AtomicU32,
    /// Child: bytes of report text.
    pub report_len: AtomicU32,
    /// Child: described files.
    pub objects_len: AtomicU32,
    /// Child: what the first input of an OBSERVE phase took, or all of the batch in any other, in
    /// nanoseconds; never 0 when it is through, also before `count`. The engine sets 0 before it wakes
    /// the child.
    pub nanos: AtomicU64,
    /// Child's signal handler.
    pub crash: CrashNote,
    /// Engine: not 0 to have the child end the batch after the input it works on. What did not run is
    /// sent again.
    pub enough: AtomicU32,
    /// Child, in a TIME phase: nanoseconds that this batch has spent in the harness so far.
    pub harness_nanos: AtomicU64,
    /// Child, in a TIME phase: nanoseconds that went into reading and clearing the map.
    pub map_nanos: AtomicU64,
    /// Child: how heavy it was when it was weighed last.
    pub weight: WeightNote,
    /// Engine, for a MUTATE phase: where in the arena inputs that are made go.
    pub room: AtomicU32,
    /// Engine, for a MUTATE phase: how long such an input may be.
    pub max_len: AtomicU32,
}

const _: () = assert!(size_of::<Header>() <= PAGE);

/// One input and what became of it.
#[repr(C)]
pub struct Slot {
    /// Engine: where the input starts in the arena.
    pub offset: AtomicU32,
    /// Engine: its length in bytes.
    pub len: AtomicU32,
    /// Child: an [`Outcome`] code; 0 means that it was not run.
    pub outcome: AtomicU32,
    /// Child: the first edge that was new to the history; 0 for none.
    pub edge: AtomicU32,
    /// Child: the class of that edge.
    pub class: AtomicU32,
    /// Child: exit code for [`Outcome::Exit`].
    pub value: AtomicU32,
    /// Child: a hash. Of a finding, where it was raised; of anything else, all that was new to the
    /// history ([`crate::novelty::News::set`]).
    pub signature: AtomicU64,
}

const _: () = assert!(size_of::<Slot>() == 32);

/// What the child said of one input, copied out and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What became of it.
    pub outcome: Outcome,
    /// The first edge that was new to the history, with its class.
    pub novel: Option<(u32, u8)>,
    /// Exit code for [`Outcome::Exit`].
    pub value: u32,
    /// A hash: of a finding, where it was raised; of anything else, all that was new.
    pub signature: u64,
}

const OBJECT_PATH: usize = 512 - 64;

/// One file in the child's memory.
#[repr(C)]
struct Object {
    start: u64,
    end: u64,
    bias: u64,
    identity: Identity,
    path_len: u32,
    path: [u8; OBJECT_PATH],
}

const _: () = assert!(size_of::<Object>() == 512);

/// A weight note, copied out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Inputs that the child had run.
    pub runs: u64,
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// Bytes in use on the C heap; 0 when that is not known.
    pub heap: u64,
    /// Blocks that Python's own allocator has given out.
    pub blocks: u64,
}

/// A crash note, copied out and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The signal.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: u64,
    /// Return addresses, innermost first.
    pub frames: Vec<u64>,
}

/// A mapped batch file.
#[derive(Debug)]
pub struct Batch {
    mapping: Mapping,
    arena_len: usize,
}

const SLOTS_AT: usize = PAGE;
const OBJECTS_AT: usize = SLOTS_AT + SLOTS * size_of::<Slot>();
const REPORT_AT: usize = OBJECTS_AT + OBJECTS * size_of::<Object>();
const ARENA_AT: usize = REPORT_AT + REPORT;

impl Batch {
    /// Makes a batch file with an arena of `arena_len` bytes.
    ///
    /// # Errors
    /// What the system reports.
    pub fn create(arena_len: u32) -> io::Result<(OwnedFd, Batch)> {
        let fd = mapping::memory_file(c"hitmap-batch", ARENA_AT + arena_len as usize)?;
        mapping::seal_length(fd.as_fd())?;
        let mapping = Mapping::of_file(fd.as_fd(), ARENA_AT + arena_len as usize, Access::Shared)?;
        let header = mapping.base().cast::<Header>();
        // SAFETY: the mapping is fresh, larger than a header and not yet shared.
        unsafe {
            (*header).magic = MAGIC;
            (*header).version = VERSION;
            (*header).arena_len = arena_len;
        }
        Ok((fd, Batch { mapping, arena_len: arena_len as usize }))
    }

    /// Maps the batch file behind `fd`, after checking that it is one.
    ///
    /// # Errors
    /// `InvalidData` when it is not, or what the system reports.
    pub fn attach(fd: BorrowedFd<'_>) -> io::Result<Batch> {
        let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let len = mapping::file_len(fd)?;
        if len < ARENA_AT {
            return Err(bad("not a hitmap batch file"));
        }
        let mapping = Mapping::of_file(fd, len, Access::Shared)?;
        // SAFETY: the mapping is larger than a header.
        let header = unsafe { &*mapping.base().cast::<Header>() };
        if (header.magic, header.version) != (MAGIC, VERSION) {
            return Err(bad("batch file of another hitmap version"));
        }
        Ok(Batch { mapping, arena_len: len - ARENA_AT })
    }

    /// The header.
    #[inline]
    pub fn header(&self) -> &Header {
        // SAFETY: the mapping is larger than a header; changing fields are atomics.
        unsafe { &*self.mapping.base().cast::<Header>() }
    }

    /// The slots.
    #[inline]
    pub fn slots(&self) -> &[Slot] {
        // SAFETY: the table lies within the mapping, aligned, and all fields are atomics.
        unsafe { std::slice::from_raw_parts(self.mapping.base().add(SLOTS_AT).cast(), SLOTS) }
    }

    /// Bytes of arena.
    pub fn arena_len(&self) -> usize {
        self.arena_len
    }

    /// Engine: puts an input into `slot`, its bytes at `offset` of the arena. Returns the offset
    /// after it, or `None` when there is no room.
    pub fn stage(&self, slot: usize, offset: usize, input: &[u8]) -> Option<usize> {
        let entry = self.slots().get(slot)?;
        self.put(offset, input)?;
        entry.offset.store(offset as u32, Ordering::Relaxed);
        entry.len.store(input.len() as u32, Ordering::Relaxed);
        entry.outcome.store(0, Ordering::Relaxed);
        entry.edge.store(0, Ordering::Relaxed);
        Some(offset + input.len())
    }

    /// Child: the input in `slot`, or `None` when the slot makes no sense. The bytes can change
    /// under a reader that outlives the batch, so copy them before anybody else sees them.
    #[inline]
    pub fn input(&self, slot: usize) -> Option<&[u8]> {
        let entry = self.slots().get(slot)?;
        let (offset, len) = (entry.offset.load(Ordering::Relaxed), entry.len.load(Ordering::Relaxed));
        self.bytes(making::Span { offset, len })
    }

    /// Engine: what the child said of `slot`; `None` when it was not run or makes no sense.
    pub fn verdict(&self, slot: usize, capacity: u32) -> Option<Verdict> {
        let entry = self.slots().get(slot)?;
        let outcome = Outcome::from_code(u8::try_from(entry.outcome.load(Ordering::Relaxed)).ok()?)?;
        let edge = entry.edge.load(Ordering::Relaxed);
        let class = u8::try_from(entry.class.load(Ordering::Relaxed)).ok().filter(|class| class.is_power_of_two());
        let novel = class.filter(|_| edge >= PAGE as u32 && edge < capacity).map(|class| (edge, class));
        let value = entry.value.load(Ordering::Relaxed);
        Some(Verdict { outcome, novel, value, signature: entry.signature.load(Ordering::Relaxed) })
    }

    /// Replaces the report text; what is longer than [`REPORT`] is cut at a character.
    pub fn write_report(&self, text: &str) {
        let mut len = text.len().min(REPORT);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        // SAFETY: the range lies within the report.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), self.mapping.base().add(REPORT_AT), len) };
        self.header().report_len.store(len as u32, Ordering::Release);
    }

    /// The report text, as far as it is text.
    pub fn report(&self) -> String {
        let len = (self.header().report_len.load(Ordering::Acquire) as usize).min(REPORT);
        // SAFETY: the range lies within the report; a racing writer is a mad child's, and its bytes
        // are only ever read as text.
        let bytes = unsafe { std::slice::from_raw_parts(self.mapping.base().add(REPORT_AT), len) };
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Child: describes the files in its memory, so that addresses can be named after its death.
    pub fn write_objects(&self, objects: &[crate::identity::Loaded]) {
        let count = objects.len().min(OBJECTS);
        for (at, object) in objects[..count].iter().enumerate() {
            let kept = &object.path[object.path.len().saturating_sub(OBJECT_PATH)..];
            // SAFETY: `at` is below OBJECTS and the child is the only writer.
            unsafe {
                let record = self.mapping.base().add(OBJECTS_AT).cast::<Object>().add(at);
                (*record).start = object.span.0;
                (*record).end = object.span.1;
                (*record).bias = object.bias;
                (*record).identity = object.identity;
                (*record).path_len = kept.len() as u32;
                let path = &raw mut (*record).path;
                std::ptr::copy_nonoverlapping(kept.as_ptr(), path.cast::<u8>(), kept.len());
            }
        }
        self.header().objects_len.store(count as u32, Ordering::Release);
    }

    /// The files in the child's memory, as far as they make sense.
    pub fn objects(&self) -> Vec<crate::identity::Loaded> {
        let count = (self.header().objects_len.load(Ordering::Acquire) as usize).min(OBJECTS);
        let read = |at: usize| {
            // SAFETY: `at` is below OBJECTS; the fields are plain data.
            let object = unsafe { &*self.mapping.base().add(OBJECTS_AT).cast::<Object>().add(at) };
            let path = object.path.get(..object.path_len as usize)?.to_vec();
            let span = (object.start, object.end);
            (span.0 < span.1).then_some(crate::identity::Loaded {
                path,
                bias: object.bias,
                span,
                identity: object.identity,
            })
        };
        (0..count).filter_map(read).collect()
    }

    /// Engine: forgets crash note and report, before the next request.
    pub fn clear_notes(&self) {
        self.header().crash.signal.store(0, Ordering::Relaxed);
        self.header().report_len.store(0, Ordering::Relaxed);
    }

    /// Child: says how heavy it is.
    pub fn write_weight(&self, weight: Weight) {
        let note = &self.header().weight;
        note.resident_kib.store(weight.resident_kib, Ordering::Relaxed);
        note.heap.store(weight.heap, Ordering::Relaxed);
        note.blocks.store(weight.blocks, Ordering::Relaxed);
        note.runs.store(weight.runs, Ordering::Release);
    }

    /// Engine: takes what the child said of its weight, when it said something since.
    pub fn take_weight(&self) -> Option<Weight> {
        let note = &self.header().weight;
        let runs = note.runs.load(Ordering::Acquire);
        if runs == 0 {
            return None;
        }
        note.runs.store(0, Ordering::Relaxed);
        let read = |field: &AtomicU64| field.load(Ordering::Relaxed);
        Some(Weight {
            runs,
            resident_kib: read(&note.resident_kib),
            heap: read(&note.heap),
            blocks: read(&note.blocks),
        })
    }

    /// The crash note, if a signal handler left one.
    pub fn crash(&self) -> Option<Crash> {
        let note = &self.header().crash;
        let signal = note.signal.load(Ordering::Acquire) as i32;
        if signal == 0 {
            return None;
        }
        let len = (note.frames_len.load(Ordering::Relaxed) as usize).min(FRAMES);
        Some(Crash {
            signal,
            code: note.code.load(Ordering::Relaxed) as i32,
            address: note.address.load(Ordering::Relaxed),
            frames: note.frames[..len].iter().map(|f| f.load(Ordering::Relaxed)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Loaded;

    #[test]
    fn what_is_staged_is_what_the_child_reads() {
        let (fd, engine) = Batch::create(100).unwrap();
        let child = Batch::attach(fd.as_fd()).unwrap();
        let next = engine.stage(0, 0, b"hello").unwrap();
        let next = engine.stage(1, next, b"").unwrap();
        assert_eq!(engine.stage(2, next, &[0; 96]), None, "the arena is full");
        assert_eq!(child.input(0), Some(&b"hello"[..]));
        assert_eq!(child.input(1), Some(&b""[..]));
        assert_eq!(child.input(SLOTS), None);
        assert_eq!(engine.verdict(0, 10_000), None, "not run yet");
    }

    #[test]
    fn a_slot_that_lies_reads_nothing() {
        let (_fd, batch) = Batch::create(100).unwrap();
        batch.slots()[0].offset.store(99, Ordering::Relaxed);
        batch.slots()[0].len.store(2, Ordering::Relaxed);
        assert_eq!(batch.input(0), None);
        batch.slots()[0].outcome.store(77, Ordering::Relaxed);
        assert_eq!(batch.verdict(0, 10_000), None);
        batch.slots()[0].outcome.store(1, Ordering::Relaxed);
        batch.slots()[0].edge.store(10_000, Ordering::Relaxed);
        assert_eq!(batch.verdict(0, 10_000).unwrap().novel, None);
    }

    #[test]
    fn reports_are_cut_at_a_character() {
        let (_fd, batch) = Batch::create(100).unwrap();
        batch.write_report(&"é".repeat(REPORT));
        assert_eq!(batch.report().len(), REPORT);
        batch.header().report_len.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(batch.report().len(), REPORT);
    }

    #[test]
    fn a_weight_is_taken_once() {
        let (_fd, batch) = Batch::create(100).unwrap();
        assert_eq!(batch.take_weight(), None);
        let weight = Weight { runs: 1024, resident_kib: 5, heap: 6, blocks: 7 };
        batch.write_weight(weight);
        assert_eq!(batch.take_weight(), Some(weight));
        assert_eq!(batch.take_weight(), None);
    }

    #[test]
    fn objects_come_back() {
        let (_fd, batch) = Batch::create(100).unwrap();
        let object = Loaded { path: b"/lib/x.so".to_vec(), bias: 5, span: (10, 20), identity: Identity::new(b"id") };
        batch.write_objects(std::slice::from_ref(&object));
        let back = batch.objects();
        assert_eq!(
            (&back[0].path, back[0].bias, back[0].span, back[0].identity),
            (&object.path, 5, (10, 20), object.identity)
        );
        batch.header().objects_len.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(batch.objects().len(), 1);
    }

    #[test]
    fn attach_refuses_what_is_no_batch() {
        let file = mapping::memory_file(c"t", ARENA_AT + 10).unwrap();
        assert!(Batch::attach(file.as_fd()).is_err());
        let short = mapping::memory_file(c"t", 10).unwrap();
        assert!(Batch::attach(short.as_fd()).is_err());
    }

    proptest::proptest! {
        /// What a mad child can do to the file: write anywhere in it.
        #[test]
        fn any_bytes_are_safe_as_a_batch(writes: Vec<(u32, u64)>, slot in 0..SLOTS + 2) {
            let (_fd, batch) = Batch::create(4096).unwrap();
            for (at, word) in writes {
                let at = at as usize % (ARENA_AT / 8);
                // SAFETY: the word lies within the mapping, which the test owns.
                unsafe { batch.mapping.base().cast::<u64>().add(at).write(word) };
            }
            if let Some(verdict) = batch.verdict(slot, 10_000) {
                proptest::prop_assert!(verdict.novel.is_none_or(|(edge, _)| (4096..10_000).contains(&edge)));
            }
            proptest::prop_assert!(batch.input(slot).is_none_or(|input| input.len() <= 4096));
            proptest::prop_assert!(batch.crash().is_none_or(|crash| crash.frames.len() <= FRAMES));
            let fits = batch.answered(slot, 100).is_none_or(|answer| match answer {
                making::Answer::Made(input) => input.len() <= 100,
                _ => true,
            });
            proptest::prop_assert!(fits);
            batch.wish(slot);
            batch.report();
            batch.objects();
        }
    }
}
