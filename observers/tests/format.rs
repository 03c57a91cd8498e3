//! The saved format: golden files, the worked example of `docs/format.md`, and everything that is
//! not the format.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};

use hitmap_observers::frame::{self, FrameError};
use hitmap_observers::snapshot::{
    FeatureReader, FeatureRecord, Hit, Hits, Malformed, Meta, ModuleHits, ModuleId, ModuleMap, Problem, Snapshot,
};
use hitmap_wire::identity::Identity;
use proptest::prelude::*;

struct Largest;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Largest {
    // SAFETY: the caller keeps the contract of the trait, and so does the system's allocator.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // The cell is gone while its thread ends.
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as above.
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's word.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Largest = Largest;

/// Decodes, and checks that no single allocation was larger than the bytes times a constant.
fn decode(bytes: &[u8]) -> Result<Snapshot, Malformed> {
    LARGEST.set(0);
    let decoded = Snapshot::decode(bytes);
    let largest = LARGEST.get();
    assert!(largest <= 256 * bytes.len() + 512, "{largest} bytes were allocated for {} bytes", bytes.len());
    decoded
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn hits(of: &[(u32, u8)]) -> Hits {
    Hits::new(of.iter().map(|&(edge, class)| Hit { edge, class }).collect()).unwrap()
}

fn module(identity: &[u8], kind: u32, edges: u32, name: &str) -> ModuleId {
    let path = format!("/opt/{name}");
    ModuleId { identity: Identity::new(identity), kind, edges, name: name.into(), path, below: String::new() }
}

/// What `golden/v1.hitmap` holds.
fn example() -> Snapshot {
    let parser = ModuleMap::new(
        module(&[0xab; 20], 3, 3_100_000, "libparser.so"),
        hits(&[(0, 1), (1, 2), (2, 4), (40, 8), (41, 16), (5000, 32), (5001, 64), (3_099_999, 128)]),
    );
    let idle = ModuleMap::new(module(&[1, 2], 12, 7, "idle.so"), Hits::default());
    let meta = Meta {
        created: 1_763_728_942,
        tool: "hitmap 0.1.0".into(),
        harness: "json.py:parse".into(),
        executions: 1_000_000,
        extra: [("seed".to_owned(), "42".to_owned())].into(),
    };
    Snapshot::new(vec![parser.unwrap(), idle.unwrap()], meta)
}

/// What `golden/v1-features.hitmap` holds after its modules, which are those of the example.
fn records() -> Vec<FeatureRecord> {
    let seed = FeatureRecord {
        name: "id:000000,time:0,execs:0,orig:a.json".into(),
        run_nanos: 12_345,
        len: 2,
        hits: vec![ModuleHits { module: 0, hits: hits(&[(3, 1)]) }],
        ..FeatureRecord::default()
    };
    let child = FeatureRecord {
        name: "id:000001,src:000000,time:70,execs:900,op:havoc,rep:4,+cov".into(),
        parents: vec![seed.name.clone()],
        found_execs: 900,
        found_ms: 70,
        run_nanos: 20_000,
        len: 5,
        hits: vec![
            ModuleHits { module: 0, hits: hits(&[(3, 2), (4, 1)]) },
            ModuleHits { module: 1, hits: hits(&[(6, 128)]) },
        ],
        extra: [("worker".to_owned(), "w0".to_owned())].into(),
    };
    vec![seed, child]
}

#[test]
fn golden_snapshot_loads_forever_and_encodes_to_the_same_bytes() {
    let path = golden("v1.hitmap");
    let loaded = Snapshot::load(&path).unwrap();
    assert_eq!(loaded, example());
    assert_eq!(loaded.encode(), std::fs::read(path).unwrap());
}

#[test]
fn golden_log_reads_forever() {
    let mut reader = FeatureReader::open(golden("v1-features.hitmap")).unwrap();
    for record in records() {
        assert_eq!(reader.next_record().unwrap(), Some(record));
    }
    assert_eq!(reader.next_record().unwrap(), None);
    assert_eq!(reader.modules(), [0, 1].map(|at| example().modules()[1 - at].id().clone()));
    assert_eq!(reader.offset(), std::fs::metadata(golden("v1-features.hitmap")).unwrap().len());
}

/// The bytes of the fenced blocks marked `hex`: whatever stands before `|` on each line.
#[test]
fn the_documents_example_is_true() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format.md")).unwrap();
    let block = page.split("```hex\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of hex");
    let digits = block.lines().flat_map(|line| line.split('|').next().unwrap_or("").split_whitespace());
    let bytes: Vec<u8> = digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();

    let map = ModuleMap::new(module(&[0xde, 0xad], 3, 300, "a.so"), hits(&[(0, 1), (1, 8), (299, 128)])).unwrap();
    let extra = [("seed".to_owned(), "7".to_owned())].into();
    let meta = Meta { created: 300, tool: "hitmap".into(), harness: "h.py".into(), executions: 1, extra };
    let expected = Snapshot::new(vec![map], meta);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    assert_eq!(hex(&bytes), hex(&expected.encode()));
    assert_eq!(Snapshot::decode(&bytes), Ok(expected));
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error() {
    let bytes = example().encode();
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "cut to {len}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&flipped).is_err(), "bit {bit}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(decode(&longer), Err(Malformed::Trailing { bytes: 1 }));
    let twice = [&bytes[..], &bytes].concat();
    assert_eq!(decode(&twice), Err(Malformed::Trailing { bytes: bytes.len() }));
    let skippable = frame::encode(frame::SKIPPABLE, b"of a later version");
    assert_eq!(decode(&[&bytes[..], &skippable, &skippable].concat()), Ok(example()));
}

/// A sound frame around bytes that hitmap would not write.
fn forged(payload: &[u8]) -> Result<Snapshot, Malformed> {
    decode(&frame::encode(frame::SNAPSHOT, payload))
}

#[test]
fn forged_content_is_refused_whatever_it_claims() {
    let whole = example().encode();
    let payload = &whole[frame::HEAD..whole.len() - frame::TAIL];
    for len in 0..payload.len() {
        assert!(forged(&payload[..len]).is_err(), "cut to {len}");
    }
    for at in 0..payload.len() {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut lying = payload.to_vec();
            lying[at] = value;
            let _ = forged(&lying);
        }
        // A length of 10 GB where there was something else.
        let _ = forged(&[&payload[..at], &[0x80, 0x80, 0x80, 0x80, 0x28], &payload[at..]].concat());
    }
}

#[test]
fn forged_modules_are_named() {
    type Module<'a> = ((&'a [u8], u32, u32, &'a str, &'a str), Vec<u64>);
    let check = |modules: &[Module<'_>], expected: &str| {
        let payload = postcard::to_allocvec(&(Meta::default(), modules)).unwrap();
        let told = forged(&payload).map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
        assert!(told.contains(expected), "{told}");
    };
    fn id(identity: &[u8]) -> (&[u8], u32, u32, &str, &str) {
        (identity, 3, 10, "x.so", "/x.so")
    }
    check(&[(id(&[1]), vec![0, 9 << 3 | 7])], "edge 10 of \"x.so\" does not exist: it has 10 edges");
    check(&[(id(&[1]), vec![0, 8 << 3 | 7])], "accepted");
    check(&[(id(&[1]), vec![1 << 35])], "content");
    check(&[(id(&[]), vec![])], "\"x.so\" has 0 bytes");
    check(&[(id(&[9; 33]), vec![])], "\"x.so\" has 33 bytes");
    check(&[(id(&[1]), vec![]), (id(&[1]), vec![])], "\"x.so\" (01) is there twice");
    check(&[(id(&[2]), vec![]), (id(&[1]), vec![])], "\"x.so\" (01) is there twice or out of order");
}

proptest! {
    #[test]
    fn any_content_is_safe(payload: Vec<u8>) {
        let _ = forged(&payload);
    }
}

/// Saves `content` under a name, loads it, and checks that the error names the file and the problem.
fn refused(content: &[u8], expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strange.hitmap");
    std::fs::write(&path, content).unwrap();
    let told = Snapshot::load(&path).expect_err("it is refused").to_string();
    assert!(told.contains("strange.hitmap: ") && told.contains(expected), "{told}");
}

#[test]
fn files_that_are_no_snapshots_are_named() {
    let whole = example().encode();
    refused(b"", "it is empty");
    refused(b"hit", "it ends after 3 of 24 bytes");
    refused(b"PNG image, say, of any size", "does not begin as hitmap's files do");
    refused(&whole[..100], &format!("it ends after 100 of {} bytes", whole.len()));
    refused(&[&whole[..], b"more"].concat(), "4 bytes follow its end");
    refused(&std::fs::read(golden("v1-features.hitmap")).unwrap(), "a feature log, where a snapshot is expected");
}

#[test]
fn folders_pipes_devices_and_giants_do_not_block() {
    let folder = tempfile::tempdir().unwrap();
    let told = |path: &Path| Snapshot::load(path).expect_err("it is refused").to_string();
    assert!(told(folder.path()).contains("a folder"));
    assert!(told(Path::new("/dev/zero")).contains("a device"));
    assert!(Snapshot::load(folder.path().join("absent")).unwrap_err().is_not_found());

    let pipe = folder.path().join("pipe");
    let name = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
    // SAFETY: the name is a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert!(told(&pipe).contains("a pipe"));

    let giant = folder.path().join("giant.hitmap");
    let file = std::fs::File::create(&giant).unwrap();
    std::io::Write::write_all(&mut &file, &example().encode()).unwrap();
    file.set_len(10 << 40).unwrap();
    assert!(matches!(Snapshot::load(&giant).unwrap_err().problem, Problem::TooLarge { .. }));
}

#[test]
fn a_later_version_asks_for_a_newer_hitmap() {
    let mut head = frame::encode(frame::SNAPSHOT, b"");
    head.truncate(16);
    head[6] = 2;
    let sum = xxhash_rust::xxh3::xxh3_64(&head);
    head.extend(sum.to_le_bytes());
    assert_eq!(decode(&head), Err(FrameError::Version { found: 2 }.into()));
    refused(&head, "format version 2, and this hitmap reads version 1; use a newer hitmap");
}

#[test]
fn a_large_map_stays_small() {
    // Evenly spread is the worst: neighbours cost one byte, gaps of 16 to 2047 edges two.
    let spread = (0..70_000).map(|at| Hit { edge: at * 44, class: 1 << (at % 8) }).collect();
    let map = ModuleMap::new(module(&[7; 20], 3, 3_100_000, "libtvm.so"), Hits::new(spread).unwrap()).unwrap();
    let snapshot = Snapshot::new(vec![map], Meta::default());
    let bytes = snapshot.encode();
    assert!(bytes.len() < 150_000, "{} bytes", bytes.len());
    assert_eq!(decode(&bytes), Ok(snapshot));
}

/// Files that no hitmap writes, for whoever tests a reader: a later version, and ten gigabytes
/// claimed in a hundred bytes.
#[test]
fn forged_files_are_what_they_are_called() {
    let forged = |version: u8, payload: u64| {
        let mut head = frame::encode(frame::SNAPSHOT, b"");
        head.truncate(8);
        head[6] = version;
        head.extend(payload.to_le_bytes());
        let sum = xxhash_rust::xxh3::xxh3_64(&head);
        head.extend(sum.to_le_bytes());
        head.resize(100, 0);
        head
    };
    for (name, version, payload, expected) in [
        ("later-version.hitmap", 9, 68, "format version 9"),
        ("ten-gigabytes.hitmap", 1, 10 << 30, "it ends after 100 of 10737418272 bytes"),
    ] {
        assert_eq!(std::fs::read(golden(name)).unwrap(), forged(version, payload));
        refused(&forged(version, payload), expected);
        assert!(decode(&forged(version, payload)).is_err());
    }
}
