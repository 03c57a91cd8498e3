//! Inputs that travel together, and what the child says of each.
//!
//! ```text
//! offset 0     Header           one page: what is asked, how far the child is, the crash note
//!        ...   Slot x 4096      one an input: where it lies, what became of it
//!        ...   Object x 512     which file lies where in the child, to name raw addresses later
//!        ...   paths            the names of these files, one after the other
//!        ...   DeathNote        how the child ended, and with which stack
//!        ...   SampleNote x 16  looks at the stack of a run that takes too long
//!        ...   records          what the child says of single inputs, or why the worker did not start
//!        ...   arena            the inputs, one after the other
//! ```
//!
//! One wake-up carries up to [`SLOTS`] inputs. The engine fills slots and arena, sets `phase` and
//! `count`, and wakes the child. The child raises `cur` before each input, so that a death or a hang
//! names its input, and sets it to the number that it ran when it is through: all, unless the engine
//! set `enough` meanwhile. Afterwards the engine reads slots up to `cur`. Nothing in here is trusted by either side; inputs stay the engine's own copy.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub mod making;
pub mod notes;

use crate::PAGE;
use crate::identity::{self, Identity, Loaded};
use crate::mapping::{self, Access, Mapping};
use crate::outcome::Outcome;
use notes::{Death, DeathNote, SAMPLES, Sample, SampleNote};

/// What a batch file starts with.
pub const MAGIC: u64 = u64::from_le_bytes(*b"hitmap\0B");
/// The version of this layout.
pub const VERSION: u32 = 2;
/// Inputs that one wake-up carries at the most.
pub const SLOTS: usize = 4096;
/// Files that the child can describe.
pub const OBJECTS: usize = 512;
/// Bytes of the names of described files.
pub const PATHS: usize = 1 << 20;
/// Bytes of records.
pub const RECORDS: usize = 1 << 20;
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

/// A record of text: of an exception what `hitmap.worker` describes, else why something failed.
pub const RECORD_TEXT: u32 = 1;
/// A record of addresses: the native stack where the Python exception that names the finding was made.
pub const RECORD_RAISED: u32 = 2;
/// A record of addresses: the native stack of the C++ throw which that Python exception translates.
pub const RECORD_THROWN: u32 = 3;
/// A record of text: the mangled name of the C++ type that was thrown.
pub const RECORD_TYPE: u32 = 4;
/// A record of text: Python's stack when a sample was taken, innermost first, a line
/// `frame\tFILE\tLINE\tFUNCTION\tID` a frame, where the same ID in two samples says that the same call
/// goes on. The slot is the sample's number.
pub const RECORD_PYTHON: u32 = 5;

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
    /// Child: bytes of records.
    pub records_len: AtomicU32,
    /// Child: described files.
    pub objects_len: AtomicU32,
    /// Child: what the first input of an OBSERVE phase took, or all of the batch in any other, in
    /// nanoseconds; never 0 when it is through, also before `count`. The engine sets 0 before it wakes
    /// the child.
    pub nanos: AtomicU64,
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
    /// Engine: how long an input may take, in milliseconds; 0 when it does not say.
    pub limit_millis: AtomicU32,
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

/// One file in the child's memory.
#[repr(C)]
struct Object {
    start: u64,
    end: u64,
    bias: u64,
    identity: Identity,
    path_at: u32,
    path_len: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<Object>() == 72);

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

/// What the child says of one input beyond its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The input's slot, or the sample's number.
    pub slot: usize,
    /// [`RECORD_TEXT`] and its siblings.
    pub kind: u32,
    /// Text, or addresses of eight bytes, in the machine's order.
    pub bytes: Vec<u8>,
}

impl Record {
    /// The bytes as far as they are text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The bytes as addresses.
    pub fn addresses(&self) -> Vec<u64> {
        let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
        self.bytes.chunks_exact(8).map(word).collect()
    }
}

/// A mapped batch file.
#[derive(Debug)]
pub struct Batch {
    mapping: Mapping,
    arena_len: usize,
}

const SLOTS_AT: usize = PAGE;
const OBJECTS_AT: usize = SLOTS_AT + SLOTS * size_of::<Slot>();
const PATHS_AT: usize = OBJECTS_AT + OBJECTS * size_of::<Object>();
const DEATH_AT: usize = PATHS_AT + PATHS;
const SAMPLES_AT: usize = DEATH_AT + size_of::<DeathNote>();
const RECORDS_AT: usize = SAMPLES_AT + SAMPLES * size_of::<SampleNote>();
const ARENA_AT: usize = RECORDS_AT + RECORDS;
/// Slot, kind, bytes: three words before each record, and one to keep them aligned.
const RECORD_HEAD: usize = 16;

const _: () = assert!(DEATH_AT.is_multiple_of(8) && SAMPLES_AT.is_multiple_of(8) && RECORDS_AT.is_multiple_of(8));

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

    /// Child: adds a record. Says whether there was room; text that is too long for what is left is cut at a
    /// character, addresses at one.
    pub fn add_record(&self, slot: usize, kind: u32, bytes: &[u8]) -> bool {
        let used = (self.header().records_len.load(Ordering::Relaxed) as usize).min(RECORDS);
        let room = (RECORDS - used).saturating_sub(RECORD_HEAD);
        let mut len = bytes.len().min(room);
        while len < bytes.len() && len > 0 && !is_cut(kind, bytes, len) {
            len -= 1;
        }
        if room == 0 || (len == 0 && !bytes.is_empty()) {
            return false;
        }
        let head = [slot as u32, kind, len as u32, 0];
        // SAFETY: head and bytes lie within the records: `len` is at most `room`.
        unsafe {
            let at = self.mapping.base().add(RECORDS_AT + used);
            std::ptr::copy_nonoverlapping(head.as_ptr().cast::<u8>(), at, RECORD_HEAD);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.add(RECORD_HEAD), len);
        }
        let end = (used + RECORD_HEAD + len).next_multiple_of(8).min(RECORDS);
        self.header().records_len.store(end as u32, Ordering::Release);
        true
    }

    /// Adds a text that belongs to no input in particular.
    pub fn write_report(&self, text: &str) {
        self.add_record(0, RECORD_TEXT, text.as_bytes());
    }

    /// All records, as far as they make sense.
    pub fn records(&self) -> Vec<Record> {
        let len = (self.header().records_len.load(Ordering::Acquire) as usize).min(RECORDS);
        // SAFETY: the range lies within the records; a racing writer is a mad child's, and its bytes
        // are only ever copied.
        let all = unsafe { std::slice::from_raw_parts(self.mapping.base().add(RECORDS_AT), len) };
        let (mut records, mut rest) = (Vec::new(), all);
        while let Some((head, after)) = rest.split_at_checked(RECORD_HEAD) {
            let word = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().expect("four bytes"));
            let Some(bytes) = after.get(..word(8) as usize) else { break };
            records.push(Record { slot: word(0) as usize, kind: word(4), bytes: bytes.to_vec() });
            rest = after.get(bytes.len().next_multiple_of(8)..).unwrap_or_default();
        }
        records
    }

    /// The first text among the records; empty when there is none.
    pub fn report(&self) -> String {
        self.records().iter().find(|record| record.kind == RECORD_TEXT).map(Record::text).unwrap_or_default()
    }

    /// Describes the files in the child's memory, so that addresses can be named after its death. The last ones
    /// are left out when there is no room for their names. The server does it before it forks, the child again
    /// when it has loaded more.
    pub fn write_objects(&self, objects: &[Loaded]) {
        let program = std::fs::read_link("/proc/self/exe").map(PathBuf::into_os_string).unwrap_or_default();
        let (mut count, mut used) = (0, 0);
        for object in objects {
            // The loader has no name for the program itself, which names addresses as well as any library.
            let path = if object.path.is_empty() { program.as_bytes() } else { object.path.as_slice() };
            if !self.write_object(count, &mut used, path, object.span, object.bias, object.identity) {
                break;
            }
            count += 1;
        }
        self.header().objects_len.store(count as u32, Ordering::Release);
    }

    /// Child: adds the files that it has loaded since, the last thing that it does. Allocates nothing.
    pub fn add_objects(&self) {
        let mut count = (self.header().objects_len.load(Ordering::Acquire) as usize).min(OBJECTS);
        let listed = count;
        // SAFETY: `at` is below OBJECTS; the fields are plain data.
        let object = |at: usize| unsafe { &*self.mapping.base().add(OBJECTS_AT).cast::<Object>().add(at) };
        let mut used =
            (0..count).map(|at| object(at).path_at.saturating_add(object(at).path_len)).max().unwrap_or(0) as usize;
        identity::each_loaded(|info| {
            let Some(span) = identity::span_of(info) else { return false };
            if (0..listed).any(|at| object(at).start == span.0) {
                return false;
            }
            let identity = identity::identity_of(info);
            if self.write_object(count, &mut used, identity::name_of(info), span, info.dlpi_addr, identity) {
                count += 1;
            }
            false
        });
        self.header().objects_len.store(count as u32, Ordering::Release);
    }

    fn write_object(
        &self,
        at: usize,
        used: &mut usize,
        path: &[u8],
        span: (u64, u64),
        bias: u64,
        identity: Identity,
    ) -> bool {
        if at >= OBJECTS || used.saturating_add(path.len()) > PATHS {
            return false;
        }
        // SAFETY: `at` is below OBJECTS, the name lies within the paths, and nobody else writes at this time.
        unsafe {
            let base = self.mapping.base();
            std::ptr::copy_nonoverlapping(path.as_ptr(), base.add(PATHS_AT + *used), path.len());
            base.add(OBJECTS_AT).cast::<Object>().add(at).write(Object {
                start: span.0,
                end: span.1,
                bias,
                identity,
                path_at: *used as u32,
                path_len: path.len() as u32,
                reserved: 0,
            });
        }
        *used += path.len();
        true
    }

    /// The files in the child's memory, as far as they make sense.
    pub fn objects(&self) -> Vec<Loaded> {
        // SAFETY: the range lies within the mapping; the bytes are only ever copied.
        let paths = unsafe { std::slice::from_raw_parts(self.mapping.base().add(PATHS_AT), PATHS) };
        self.read_objects(|at, len| Some(paths.get(at..)?.get(..len)?.to_vec()))
    }

    /// The files in the child's memory without their names, which is all that an address needs to be placed.
    pub fn spans(&self) -> Vec<Loaded> {
        self.read_objects(|_, _| Some(Vec::new()))
    }

    fn read_objects(&self, name: impl Fn(usize, usize) -> Option<Vec<u8>>) -> Vec<Loaded> {
        let count = (self.header().objects_len.load(Ordering::Acquire) as usize).min(OBJECTS);
        let read = |at: usize| {
            // SAFETY: `at` is below OBJECTS; the fields are plain data.
            let object = unsafe { &*self.mapping.base().add(OBJECTS_AT).cast::<Object>().add(at) };
            let path = name(object.path_at as usize, object.path_len as usize)?;
            let span = (object.start, object.end);
            (span.0 < span.1).then_some(Loaded { path, bias: object.bias, span, identity: object.identity })
        };
        (0..count).filter_map(read).collect()
    }

    /// How the child ends: for its handlers to write.
    pub fn death_note(&self) -> &DeathNote {
        // SAFETY: the note lies within the mapping, aligned, and all fields are atomics.
        unsafe { &*self.mapping.base().add(DEATH_AT).cast() }
    }

    /// Looks at a run that takes too long: for the child's handler to write.
    pub fn sample_notes(&self) -> &[SampleNote] {
        // SAFETY: the notes lie within the mapping, aligned, and all fields are atomics.
        unsafe { std::slice::from_raw_parts(self.mapping.base().add(SAMPLES_AT).cast(), SAMPLES) }
    }

    /// The death note, if there is one.
    pub fn death(&self) -> Option<Death> {
        self.death_note().read()
    }

    /// How many samples there are.
    pub fn samples_taken(&self) -> usize {
        self.sample_notes().iter().take_while(|note| note.moment.load(Ordering::Acquire) != 0).count()
    }

    /// The samples that were taken, in order.
    pub fn samples(&self) -> Vec<Sample> {
        let records = self.records();
        let python = |at: usize| records.iter().find(|r| r.kind == RECORD_PYTHON && r.slot == at);
        let notes = self.sample_notes().iter().enumerate();
        notes
            .map_while(|(at, note)| {
                let (moment, stack) = note.read()?;
                Some(Sample { moment, stack, python: python(at).map(Record::text).unwrap_or_default() })
            })
            .collect()
    }

    /// Engine: forgets death note, samples and records, before the next request.
    pub fn clear_notes(&self) {
        self.death_note().clear();
        let taken = |note: &&SampleNote| note.moment.load(Ordering::Relaxed) != 0;
        self.sample_notes().iter().take_while(taken).for_each(|note| note.moment.store(0, Ordering::Relaxed));
        self.header().records_len.store(0, Ordering::Relaxed);
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
}

/// Whether `bytes`, of a record of this kind, may be cut at `len`.
fn is_cut(kind: u32, bytes: &[u8], len: usize) -> bool {
    match kind {
        RECORD_RAISED | RECORD_THROWN => len.is_multiple_of(8),
        // No continuation byte of UTF-8 follows.
        _ => bytes[len] & 0xC0 != 0x80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn records_come_back_in_order_and_are_cut_where_there_is_no_room() {
        let (_fd, batch) = Batch::create(100).unwrap();
        assert!(batch.add_record(7, RECORD_TEXT, b"odd"));
        assert!(batch.add_record(7, RECORD_RAISED, &[5u64.to_ne_bytes(), 6u64.to_ne_bytes()].concat()));
        assert!(batch.add_record(8, RECORD_TEXT, "é".repeat(RECORDS).as_bytes()));
        assert!(!batch.add_record(9, RECORD_TEXT, b"no room"));
        let records = batch.records();
        assert_eq!((records[0].slot, records[0].text().as_str()), (7, "odd"));
        assert_eq!(records[1].addresses(), [5, 6]);
        assert!(records[2].text().chars().all(|c| c == 'é'));
        assert_eq!(records.len(), 3);
        batch.header().records_len.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(batch.records()[..3], records);
        batch.clear_notes();
        assert_eq!(batch.records(), []);
        assert_eq!(batch.report(), "");
    }

    #[test]
    fn notes_come_back() {
        let (_fd, batch) = Batch::create(100).unwrap();
        assert_eq!((batch.death(), batch.samples()), (None, vec![]));
        let note = batch.death_note();
        note.clear();
        note.stack.frames[0].store(99, Ordering::Relaxed);
        note.stack.len.store(1, Ordering::Relaxed);
        note.text[0].store(b'x', Ordering::Relaxed);
        note.text_len.store(1, Ordering::Relaxed);
        note.how.store(notes::How::Terminate as u32, Ordering::Release);
        let death = batch.death().unwrap();
        assert_eq!(
            (death.stack.frames.as_slice(), death.stack.interrupted, death.text.as_str()),
            (&[99][..], None, "x")
        );
        let sample = &batch.sample_notes()[0];
        sample.stack.interrupted.store(notes::NO_FRAME, Ordering::Relaxed);
        sample.moment.store(notes::Moment::Python as u32, Ordering::Release);
        batch.add_record(0, RECORD_PYTHON, b"frame");
        assert_eq!(batch.samples_taken(), 1);
        assert_eq!(batch.samples()[0].python, "frame");
        batch.clear_notes();
        assert_eq!((batch.death(), batch.samples()), (None, vec![]));
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
        let object =
            |path: &[u8]| Loaded { path: path.into(), bias: 5, span: (10, 20), identity: Identity::new(b"id") };
        let program = std::env::current_exe().unwrap();
        let objects =
            [object(b"/lib/x.so"), object("/a".repeat(2000).as_bytes()), object(program.as_os_str().as_bytes())];
        batch.write_objects(&[objects[0].clone(), objects[1].clone(), object(b"")]);
        assert_eq!(batch.objects(), objects, "the program itself has a name");
        assert!(batch.spans().iter().all(|one| (one.path.as_slice(), one.span) == (b"", (10, 20))));
        batch.header().objects_len.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(batch.objects().len(), 3);
    }

    #[test]
    fn files_that_came_later_are_added_behind_the_others() {
        let (_fd, batch) = Batch::create(100).unwrap();
        let all = identity::all_loaded();
        batch.write_objects(&all[..1]);
        batch.add_objects();
        let spans = |objects: &[Loaded]| objects.iter().map(|o| (o.span, o.identity)).collect::<Vec<_>>();
        assert_eq!(spans(&batch.objects()), spans(&all));
        assert_eq!(batch.objects()[1..], all[1..]);
        batch.add_objects();
        assert_eq!(batch.objects().len(), all.len());
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
            proptest::prop_assert!(batch.death().is_none_or(|death| death.stack.frames.len() <= notes::FRAMES));
            proptest::prop_assert!(batch.samples().len() <= SAMPLES);
            let fits = batch.answered(slot, 100).is_none_or(|answer| match answer {
                making::Answer::Made(input) => input.len() <= 100,
                _ => true,
            });
            proptest::prop_assert!(fits);
            batch.wish(slot);
            batch.report();
            batch.objects();
            batch.add_objects();
        }
    }
}
