//! The frame around everything that hitmap saves: what it is, how long it is, and whether it is whole.
//!
//! Owns the first 24 and the last 8 bytes; `docs/format.md` has them one by one. Knows nothing of
//! what lies between, opens no file, and allocates nothing when it reads. A frame knows its own end,
//! so frames can stand one after the other in a log. The head has a checksum of its own: a length
//! that can be trusted tells a log that was cut off while it was written
//! ([`FrameError::Truncated`]) from one that was changed afterwards.
//!
//! The head never changes, in any later version; [`VERSION`] says how to read what follows it.

use xxhash_rust::xxh3::xxh3_64;

/// How every frame begins.
pub const MAGIC: [u8; 6] = *b"hitmap";
/// The version of the payloads that this hitmap writes, and the only one it reads so far.
pub const VERSION: u8 = 1;
/// Bytes before the payload.
pub const HEAD: usize = 24;
/// Bytes after the payload.
pub const TAIL: usize = 8;

/// A whole [`crate::snapshot::Snapshot`].
pub const SNAPSHOT: u8 = 1;
/// A module that later entries of a feature log refer to.
pub const MODULE: u8 = 2;
/// An entry of a feature log.
pub const ENTRY: u8 = 3;
/// Kinds from here on may be skipped by whoever does not know them.
pub const SKIPPABLE: u8 = 128;

const CHECKED: usize = 16;

/// Why bytes are not a frame, or not the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There is nothing.
    #[error("it is empty; nothing was ever saved here, so delete it or copy the file again")]
    Empty,
    /// The bytes were written by something else.
    #[error("it does not begin as hitmap's files do; pass a .hitmap file")]
    NotHitmap,
    /// The head's own checksum does not fit it.
    #[error("its first {HEAD} bytes were changed after they were written; copy the file again or delete it")]
    HeadDamaged,
    /// Written by a later hitmap.
    #[error("it has format version {found}, and this hitmap reads version {VERSION}; use a newer hitmap")]
    Version {
        /// The version of the file.
        found: u8,
    },
    /// A sound frame of another kind.
    #[error("it holds {}, where {} is expected", name_of(*found), name_of(*expected))]
    Kind {
        /// The kind that is there.
        found: u8,
        /// The kind that was asked for.
        expected: u8,
    },
    /// The bytes end before the frame does: it was cut off while it was written or copied.
    #[error("it ends after {have} of {need} bytes; copy the file again or delete it")]
    Truncated {
        /// Bytes that are there.
        have: u64,
        /// Bytes that the frame has, or that a head has when not even that is whole.
        need: u64,
    },
    /// The checksum does not fit the bytes.
    #[error("its checksum does not fit: it was changed after it was written; copy the file again or delete it")]
    Damaged,
}

fn name_of(kind: u8) -> &'static str {
    match kind {
        SNAPSHOT => "a snapshot",
        MODULE | ENTRY => "a feature log",
        _ => "something that this hitmap does not know",
    }
}

/// The checked head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the payload is.
    pub kind: u8,
    /// Its length in bytes, as claimed; compare it with what is there before you allocate.
    pub payload: u64,
}

impl Head {
    /// Reads a head, which may be all that there is of a frame yet.
    ///
    /// # Errors
    /// See [`FrameError`]; [`FrameError::Truncated`] when `bytes` could be the beginning of a head.
    pub fn read(bytes: &[u8]) -> Result<Head, FrameError> {
        if bytes.is_empty() {
            return Err(FrameError::Empty);
        }
        let shown = bytes.len().min(MAGIC.len());
        if bytes[..shown] != MAGIC[..shown] {
            return Err(FrameError::NotHitmap);
        }
        let Some(head) = bytes.first_chunk::<HEAD>() else {
            return Err(FrameError::Truncated { have: bytes.len() as u64, need: HEAD as u64 });
        };
        if xxh3_64(&head[..CHECKED]) != word(&head[CHECKED..]) {
            return Err(FrameError::HeadDamaged);
        }
        if head[6] != VERSION {
            return Err(FrameError::Version { found: head[6] });
        }
        Ok(Head { kind: head[7], payload: word(&head[8..CHECKED]) })
    }

    /// The length of the whole frame.
    pub fn frame(&self) -> u64 {
        self.payload.saturating_add((HEAD + TAIL) as u64)
    }
}

/// Puts `payload` into a frame.
pub fn encode(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD + payload.len() + TAIL);
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&[VERSION, kind]);
    frame.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    frame.extend_from_slice(&xxh3_64(&frame).to_le_bytes());
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&xxh3_64(&frame).to_le_bytes());
    frame
}

/// Takes the first frame off `bytes`, whatever its kind: the kind, the payload and what follows.
///
/// # Errors
/// See [`FrameError`].
pub fn decode_any(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), FrameError> {
    let head = Head::read(bytes)?;
    if (bytes.len() as u64) < head.frame() {
        return Err(FrameError::Truncated { have: bytes.len() as u64, need: head.frame() });
    }
    let (frame, rest) = bytes.split_at(head.frame() as usize);
    let (checked, checksum) = frame.split_at(frame.len() - TAIL);
    if xxh3_64(checked) != word(checksum) {
        return Err(FrameError::Damaged);
    }
    Ok((head.kind, &checked[HEAD..], rest))
}

/// Takes a frame of `kind` off `bytes`: its payload and what follows.
///
/// # Errors
/// See [`FrameError`].
pub fn decode(bytes: &[u8], kind: u8) -> Result<(&[u8], &[u8]), FrameError> {
    let (found, payload, rest) = decode_any(bytes)?;
    if found != kind {
        return Err(FrameError::Kind { found, expected: kind });
    }
    Ok((payload, rest))
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stand_one_after_the_other() {
        let mut log = encode(MODULE, b"first");
        log.extend(encode(ENTRY, b""));
        let (first, rest) = decode(&log, MODULE).unwrap();
        assert_eq!(first, b"first");
        assert_eq!(decode(rest, ENTRY).unwrap(), (&b""[..], &b""[..]));
    }

    #[test]
    fn every_flipped_bit_is_an_error_and_never_looks_torn() {
        let frame = encode(SNAPSHOT, b"payload");
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = decode(&flipped, SNAPSHOT).expect_err("a changed frame is refused");
            assert!(!matches!(error, FrameError::Truncated { .. }), "bit {bit}: {error}");
        }
    }

    #[test]
    fn every_cut_is_torn() {
        let frame = encode(SNAPSHOT, b"payload");
        assert_eq!(decode(&[], SNAPSHOT), Err(FrameError::Empty));
        for len in 1..frame.len() {
            assert!(matches!(decode(&frame[..len], SNAPSHOT), Err(FrameError::Truncated { .. })), "{len}");
        }
    }

    /// A head whose checksums are right, as someone who knows the format would forge it.
    fn forged(version: u8, payload: u64) -> Vec<u8> {
        let mut frame = MAGIC.to_vec();
        frame.extend([version, SNAPSHOT]);
        frame.extend(payload.to_le_bytes());
        frame.extend(xxh3_64(&frame).to_le_bytes());
        frame.extend(xxh3_64(&frame).to_le_bytes());
        frame
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        for length in [1, 10 << 30, u64::MAX - 31, u64::MAX] {
            assert!(matches!(decode(&forged(VERSION, length), SNAPSHOT), Err(FrameError::Truncated { .. })));
        }
    }

    #[test]
    fn a_later_version_and_another_kind_are_named() {
        assert_eq!(decode(&forged(9, 0), SNAPSHOT), Err(FrameError::Version { found: 9 }));
        let error = decode(&encode(ENTRY, b""), SNAPSHOT).unwrap_err();
        assert_eq!(error.to_string(), "it holds a feature log, where a snapshot is expected");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>, valid_start: bool) {
            let bytes = if valid_start { [&forged(VERSION, 5)[..], &bytes].concat() } else { bytes };
            let _ = decode_any(&bytes);
        }
    }
}
