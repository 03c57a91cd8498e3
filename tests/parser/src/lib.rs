//! What must hold for any bytes that somebody calls a saved map.
//!
//! Owns the properties; knows nothing of who makes the bytes up. `tests/test_parser.py` has hitmap
//! do it, over a cdylib of this crate; `observers/fuzz` has libFuzzer do it. The parser's own files
//! are compiled in once more rather than linked: so they get coverage, or a sanitizer, in seconds,
//! and LibAFL, which they know nothing of, stays out.

#![deny(missing_docs)]

use std::io::Write;
use std::os::fd::AsRawFd;

#[path = "../../../observers/src/disk.rs"]
pub mod disk;
#[path = "../../../observers/src/frame.rs"]
pub mod frame;
#[path = "../../../observers/src/snapshot/mod.rs"]
pub mod snapshot;

use snapshot::{FeatureReader, Snapshot};

/// Reads `data` in the way that its first byte chooses.
///
/// # Panics
/// When what was read is not what it should be.
pub fn check(data: &[u8]) {
    let Some((way, data)) = data.split_first() else { return };
    match way % 4 {
        0 => whole(data),
        // A checksum keeps whoever mutates bytes out of what it protects, and forgers add their own.
        1 => whole(&frame::encode(frame::SNAPSHOT, data)),
        2 => log(data),
        _ => log(&frames(data)),
    }
}

/// A snapshot that was believed is written as it was read, and its algebra holds.
fn whole(data: &[u8]) {
    let Ok(read) = Snapshot::decode(data) else { return };
    assert_eq!(Snapshot::decode(&read.encode()).as_ref(), Ok(&read), "saving and loading changes nothing");
    let twice = read.union(&read);
    assert_eq!(twice.modules(), read.modules(), "merging with itself changes nothing");
    assert!(read.is_subset(&twice) && read.symmetric_difference(&twice).hits() == 0);
    assert!(read.modules().iter().all(|m| m.hits().last().is_none_or(|h| h.edge < m.id().edges)));
}

/// A log is read up to its end or to the first error, and no further.
fn log(data: &[u8]) {
    // It has no name, so a process that dies here leaves nothing behind.
    let mut file = tempfile::tempfile().expect("room for a small file");
    file.write_all(data).expect("room for a small file");
    let Ok(mut reader) = FeatureReader::open(format!("/proc/self/fd/{}", file.as_raw_fd())) else { return };
    while let Ok(Some(record)) = reader.next_record() {
        record.check(reader.modules()).expect("a record that was given out is sound");
    }
    assert!(reader.offset() <= data.len() as u64);
}

/// Whole frames of a log, cut out of `data`: a byte says the kind and one the length, over and over.
fn frames(data: &[u8]) -> Vec<u8> {
    let mut log = Vec::new();
    let mut rest = data;
    while let [kind, len, after @ ..] = rest {
        let (payload, after) = after.split_at(after.len().min(usize::from(*len)));
        let kind = [frame::MODULE, frame::ENTRY, frame::SKIPPABLE, frame::SNAPSHOT][usize::from(kind % 4)];
        log.extend(frame::encode(kind, payload));
        rest = after;
    }
    log
}

/// [`check`], to be called from anywhere.
///
/// # Safety
/// `data` has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitmap_parser_check(data: *const u8, len: usize) {
    // SAFETY: the caller's word; a slice's pointer may not be null even when it has no bytes.
    check(if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, len) } });
}
