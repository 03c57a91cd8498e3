//! Feature logs: one writer, readers that follow it, and what is left when the writer is killed.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use hitmap_observers::frame;
use hitmap_observers::snapshot::{
    FeatureLog, FeatureReader, FeatureRecord, Hit, Hits, Malformed, ModuleHits, ModuleId, Problem, Repair,
};
use hitmap_wire::identity::Identity;

fn module(number: u8) -> ModuleId {
    let name = format!("lib{number}.so");
    ModuleId {
        identity: Identity::new(&[number; 20]),
        kind: 3,
        edges: 100,
        path: format!("/opt/{name}"),
        name,
        below: String::new(),
    }
}

fn record(number: u32, module: u32) -> FeatureRecord {
    let hits = Hits::new(vec![Hit { edge: number, class: 4 }]).unwrap();
    let name = format!("id:{number:06}");
    FeatureRecord { name, len: number, hits: vec![ModuleHits { module, hits }], ..FeatureRecord::default() }
}

fn resume(path: &Path) -> (FeatureLog, Repair, Vec<u32>) {
    let mut seen = Vec::new();
    let (log, repair) = FeatureLog::resume(path, |modules, record| {
        record.check(modules).unwrap();
        seen.push(record.len);
    })
    .unwrap();
    (log, repair, seen)
}

/// A log of two modules and entries 1, 2 and 3; returns where each frame ends.
fn write(path: &Path) -> Vec<u64> {
    let (mut log, repair, _) = resume(path);
    assert_eq!(repair, Repair::default());
    let len = || fs::metadata(path).unwrap().len();
    let mut ends = vec![0];
    let first = log.module(&module(1)).unwrap();
    ends.push(len());
    log.append(&record(1, first)).unwrap();
    ends.push(len());
    let second = log.module(&module(2)).unwrap();
    ends.push(len());
    log.append(&record(2, second)).unwrap();
    ends.push(len());
    assert_eq!(log.module(&module(1)).unwrap(), first, "a module is introduced once");
    log.append(&record(3, first)).unwrap();
    ends.push(len());
    log.sync().unwrap();
    ends
}

fn read_on(reader: &mut FeatureReader) -> Vec<u32> {
    std::iter::from_fn(|| reader.next_record().unwrap()).map(|record| record.len).collect()
}

#[test]
fn a_reader_follows_byte_by_byte_and_sees_every_entry_once() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, growing) = (folder.path().join("whole"), folder.path().join("growing"));
    let ends = write(&whole);
    let mut to = fs::File::create(&growing).unwrap();
    let mut reader = FeatureReader::open(&growing).unwrap();
    let mut seen = Vec::new();
    for (at, byte) in fs::read(&whole).unwrap().into_iter().enumerate() {
        to.write_all(&[byte]).unwrap();
        seen.extend(read_on(&mut reader));
        assert_eq!(reader.offset(), *ends.iter().rfind(|end| **end <= at as u64 + 1).unwrap());
    }
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!(reader.modules(), [module(1), module(2)]);
}

#[test]
fn a_reader_goes_on_where_another_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.hitmap");
    let ends = write(&path);
    let left: [&[u32]; 6] = [&[1, 2, 3], &[1, 2, 3], &[2, 3], &[2, 3], &[3], &[]];
    for (end, left) in ends.iter().zip(left) {
        assert_eq!(read_on(&mut FeatureReader::open_at(&path, *end).unwrap()), left);
    }
    let error = FeatureReader::open_at(&path, ends[3] + 1).unwrap_err();
    assert!(matches!(error.problem, Problem::Shrunk { .. }), "{error}");
}

#[test]
fn a_log_cut_anywhere_resumes_with_what_was_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.hitmap");
    let ends = write(&path);
    let whole = fs::read(&path).unwrap();
    for len in 0..=whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let (mut log, repair, seen) = resume(&path);
        let kept = *ends.iter().rfind(|end| **end <= len as u64).unwrap();
        assert_eq!(repair, Repair { kept, dropped: len as u64 - kept });
        let number = log.module(&module(2)).unwrap();
        log.append(&record(9, number)).unwrap();
        let expected = [seen, vec![9]].concat();
        assert_eq!(read_on(&mut FeatureReader::open(&path).unwrap()), expected, "cut to {len}");
    }
}

#[test]
fn an_end_that_never_reached_the_disk_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.hitmap");
    let ends = write(&path);
    let whole = fs::read(&path).unwrap();
    // The length of the file was written, its last bytes were not.
    for from in ends[4]..ends[5] {
        let mut zeroed = whole.clone();
        zeroed[from as usize..].fill(0);
        fs::write(&path, &zeroed).unwrap();
        let (_, repair, seen) = resume(&path);
        let intact = zeroed == whole;
        assert_eq!(seen, if intact { vec![1, 2, 3] } else { vec![1, 2] });
        assert_eq!(repair.kept, ends[if intact { 5 } else { 4 }]);
    }
}

#[test]
fn damage_before_sound_entries_is_told_and_nothing_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.hitmap");
    let ends = write(&path);
    let whole = fs::read(&path).unwrap();
    for bit in ends[1] * 8..ends[4] * 8 {
        let mut flipped = whole.clone();
        flipped[bit as usize / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).unwrap();
        let error = FeatureLog::resume(&path, |_, _| {}).unwrap_err();
        assert!(matches!(error.problem, Problem::Damaged { .. }), "bit {bit}: {error}");
        assert!(error.to_string().contains("features.hitmap: at byte "));
        assert_eq!(fs::read(&path).unwrap(), flipped);
        let mut reader = FeatureReader::open(&path).unwrap();
        while let Ok(Some(_)) = reader.next_record() {}
        assert!(reader.next_record().is_err() && ends.contains(&reader.offset()));
    }
}

#[test]
fn other_peoples_files_are_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.hitmap");
    fs::write(&path, "somebody's notes").unwrap();
    assert!(FeatureLog::resume(&path, |_, _| {}).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"somebody's notes");
    assert!(FeatureLog::resume(folder.path(), |_, _| {}).is_err());
}

#[test]
fn a_log_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.hitmap");
    let (log, ..) = resume(&path);
    assert!(matches!(FeatureLog::resume(&path, |_, _| {}).unwrap_err().problem, Problem::Busy));
    drop(log);
    resume(&path);
}

#[test]
fn entries_that_no_reader_would_believe_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.hitmap");
    write(&path);
    let before = fs::read(&path).unwrap();
    let (mut log, ..) = resume(&path);
    let of = |error: Problem| match error {
        Problem::Malformed(error) => error,
        other => panic!("{other}"),
    };
    let unknown = of(log.append(&record(1, 2)).unwrap_err().problem);
    assert_eq!(unknown, Malformed::Unknown { number: 2, known: 2 });
    assert!(matches!(of(log.append(&record(100, 1)).unwrap_err().problem), Malformed::Edge { edge: 100, .. }));
    let mut twice = record(1, 0);
    twice.hits.push(twice.hits[0].clone());
    assert!(matches!(of(log.append(&twice).unwrap_err().problem), Malformed::Module { .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn frames_of_later_kinds_are_skipped_only_where_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.hitmap");
    write(&path);
    let append = |bytes: &[u8]| OpenOptions::new().append(true).open(&path).unwrap().write_all(bytes).unwrap();
    append(&frame::encode(frame::SKIPPABLE, b"a hint of a later hitmap"));
    let (mut log, _, seen) = resume(&path);
    assert_eq!(seen, [1, 2, 3]);
    log.append(&record(4, 0)).unwrap();
    assert_eq!(read_on(&mut FeatureReader::open(&path).unwrap()), [1, 2, 3, 4]);
    drop(log);
    append(&frame::encode(77, b"something that must be understood"));
    let error = FeatureLog::resume(&path, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("something that this hitmap does not know"), "{error}");
}
