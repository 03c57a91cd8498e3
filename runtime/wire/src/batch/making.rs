//! Inputs that the harness's own code makes: what is asked in a slot, and what comes back.
//!
//! A wish lies in the fields of a [`Slot`](super::Slot), which have another meaning in
//! [`PHASE_MUTATE`](super::PHASE_MUTATE):
//!
//! | field | engine: the wish | child: the answer |
//! |---|---|---|
//! | `offset`, `len` | the first parent | the input that was made |
//! | `edge`, `class` | the second parent: where it starts, its length | |
//! | `value` | which function: a [`Maker`] | |
//! | `signature` | the seed | |
//! | `outcome` | 0 | [`MADE`], [`UNDECODABLE`] or [`FAILED`] |
//!
//! What is made goes behind the parents. A failure ends the batch, so that the one report is its own.

use std::sync::atomic::Ordering;

use super::{ARENA_AT, Batch};

/// The input was made.
pub const MADE: u32 = 1;
/// A parent is nothing that the harness's `decode` takes.
pub const UNDECODABLE: u32 = 2;
/// The harness's code raised, or gave what is no input; the report says which and where.
pub const FAILED: u32 = 3;

/// A function of the harness that makes inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Maker {
    /// Changes one input.
    Mutator = 1,
    /// Makes one of two.
    Crossover = 2,
    /// Makes one of nothing.
    Generator = 3,
}

impl Maker {
    fn from_code(code: u32) -> Option<Maker> {
        [Maker::Mutator, Maker::Crossover, Maker::Generator].into_iter().find(|maker| *maker as u32 == code)
    }

    /// The argument of `hitmap.harness` that brings it.
    pub const fn name(self) -> &'static str {
        match self {
            Maker::Mutator => "mutator",
            Maker::Crossover => "crossover",
            Maker::Generator => "generator",
        }
    }
}

/// Where bytes lie in the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where they start.
    pub offset: u32,
    /// How many they are.
    pub len: u32,
}

/// What one slot asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The function.
    pub maker: Maker,
    /// The seed of everything that is left to chance in it.
    pub seed: u32,
    /// The input to change; empty for a generator.
    pub first: Span,
    /// The other parent of a crossover.
    pub second: Span,
}

/// What came of a wish, copied out and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The input.
    Made(Vec<u8>),
    /// A parent does not decode.
    Undecodable,
    /// The function failed.
    Failed,
}

impl Batch {
    /// Puts bytes at `offset` of the arena; `None` when they do not fit.
    #[inline]
    pub(super) fn put(&self, offset: usize, bytes: &[u8]) -> Option<Span> {
        offset.checked_add(bytes.len()).filter(|end| *end <= self.arena_len)?;
        // SAFETY: the range lies within the arena, and the other side waits while one side writes.
        unsafe {
            let to = self.mapping.base().add(ARENA_AT + offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        Some(Span { offset: offset as u32, len: bytes.len() as u32 })
    }

    /// The bytes of a span; `None` when it does not lie in the arena. They can change under a reader that
    /// outlives the batch, so copy them before anybody else sees them.
    #[inline]
    pub fn bytes(&self, span: Span) -> Option<&[u8]> {
        let (offset, len) = (span.offset as usize, span.len as usize);
        if offset.checked_add(len)? > self.arena_len {
            return None;
        }
        // SAFETY: the range lies within the arena.
        Some(unsafe { std::slice::from_raw_parts(self.mapping.base().add(ARENA_AT + offset), len) })
    }

    /// Engine: puts a parent at `offset` of the arena; `None` when there is no room for it and for an input
    /// of `max_len` bytes behind it.
    pub fn stage_parent(&self, offset: usize, parent: &[u8], max_len: usize) -> Option<Span> {
        offset.checked_add(parent.len())?.checked_add(max_len).filter(|end| *end <= self.arena_len)?;
        self.put(offset, parent)
    }

    /// Engine: asks for an input in `slot`.
    pub fn ask(&self, slot: usize, wish: Wish) {
        let Some(entry) = self.slots().get(slot) else { return };
        entry.offset.store(wish.first.offset, Ordering::Relaxed);
        entry.len.store(wish.first.len, Ordering::Relaxed);
        entry.edge.store(wish.second.offset, Ordering::Relaxed);
        entry.class.store(wish.second.len, Ordering::Relaxed);
        entry.value.store(wish.maker as u32, Ordering::Relaxed);
        entry.signature.store(wish.seed.into(), Ordering::Relaxed);
        entry.outcome.store(0, Ordering::Relaxed);
    }

    /// Engine: says where what is made may go, and how long an input may be.
    pub fn open_room(&self, offset: usize, max_len: usize) {
        self.header().room.store(offset as u32, Ordering::Relaxed);
        self.header().max_len.store(max_len as u32, Ordering::Relaxed);
    }

    /// Child: where the first input goes, and how long one may be.
    pub fn room(&self) -> (usize, usize) {
        let header = self.header();
        (header.room.load(Ordering::Relaxed) as usize, header.max_len.load(Ordering::Relaxed) as usize)
    }

    /// Child: what `slot` asks for; `None` when it makes no sense.
    pub fn wish(&self, slot: usize) -> Option<Wish> {
        let entry = self.slots().get(slot)?;
        let load = |field: &std::sync::atomic::AtomicU32| field.load(Ordering::Relaxed);
        Some(Wish {
            maker: Maker::from_code(load(&entry.value))?,
            seed: entry.signature.load(Ordering::Relaxed) as u32,
            first: Span { offset: load(&entry.offset), len: load(&entry.len) },
            second: Span { offset: load(&entry.edge), len: load(&entry.class) },
        })
    }

    /// Child: answers `slot` with an input at `offset` of the arena; `None` when it does not fit.
    pub fn answer_made(&self, slot: usize, offset: usize, input: &[u8]) -> Option<Span> {
        let span = self.put(offset, input)?;
        let entry = self.slots().get(slot)?;
        entry.offset.store(span.offset, Ordering::Relaxed);
        entry.len.store(span.len, Ordering::Relaxed);
        entry.outcome.store(MADE, Ordering::Release);
        Some(span)
    }

    /// Child: answers `slot` with [`UNDECODABLE`] or [`FAILED`].
    pub fn answer(&self, slot: usize, code: u32) {
        if let Some(entry) = self.slots().get(slot) {
            entry.outcome.store(code, Ordering::Release);
        }
    }

    /// Engine: what came of the wish in `slot`; `None` when nothing did, or nothing that makes sense.
    pub fn answered(&self, slot: usize, max_len: usize) -> Option<Answer> {
        let entry = self.slots().get(slot)?;
        match entry.outcome.load(Ordering::Acquire) {
            MADE => {
                let load = |field: &std::sync::atomic::AtomicU32| field.load(Ordering::Relaxed);
                let bytes = self.bytes(Span { offset: load(&entry.offset), len: load(&entry.len) })?;
                (bytes.len() <= max_len).then(|| Answer::Made(bytes.to_vec()))
            }
            UNDECODABLE => Some(Answer::Undecodable),
            FAILED => Some(Answer::Failed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_what_the_engine_reads() {
        let (_fd, batch) = Batch::create(100).unwrap();
        let first = batch.stage_parent(0, b"parent", 20).unwrap();
        let second = batch.stage_parent(6, b"other", 20).unwrap();
        assert_eq!(batch.stage_parent(11, &[0; 70], 20), None, "nothing would be left for what is made");
        let wish = Wish { maker: Maker::Crossover, seed: 7, first, second };
        batch.ask(0, wish);
        batch.open_room(11, 20);
        assert_eq!(batch.answered(0, 20), None, "not made yet");
        assert_eq!(batch.wish(0), Some(wish));
        assert_eq!((batch.bytes(first), batch.bytes(second)), (Some(&b"parent"[..]), Some(&b"other"[..])));
        assert_eq!(batch.room(), (11, 20));
        batch.answer_made(0, 11, b"parother").unwrap();
        assert_eq!(batch.answered(0, 20), Some(Answer::Made(b"parother".to_vec())));
        assert_eq!(batch.answered(0, 7), None, "longer than was asked for");
        for (code, answer) in [(UNDECODABLE, Some(Answer::Undecodable)), (FAILED, Some(Answer::Failed)), (77, None)] {
            batch.answer(0, code);
            assert_eq!(batch.answered(0, 20), answer);
        }
    }

    #[test]
    fn a_wish_that_lies_reads_nothing() {
        let (_fd, batch) = Batch::create(100).unwrap();
        assert_eq!(batch.bytes(Span { offset: 99, len: 2 }), None);
        assert_eq!(batch.bytes(Span { offset: u32::MAX, len: u32::MAX }), None);
        batch.slots()[0].value.store(9, Ordering::Relaxed);
        assert_eq!(batch.wish(0), None);
        batch.slots()[0].outcome.store(MADE, Ordering::Relaxed);
        batch.slots()[0].offset.store(101, Ordering::Relaxed);
        assert_eq!(batch.answered(0, 100), None);
    }
}
