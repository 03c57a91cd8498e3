//! Saving is all or nothing: whoever is killed while saving leaves the old file or the new one.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use hitmap_observers::snapshot::{Hit, Hits, Meta, ModuleId, ModuleMap, Snapshot};
use hitmap_wire::identity::Identity;

const FOLDER: &str = "HITMAP_TEST_SAVES_IN";

/// A snapshot of some 50 KB whose every hit says which it is.
fn version(executions: u64) -> Snapshot {
    let hits = (0..50_000).map(|edge| Hit { edge, class: 1 << (executions % 8) }).collect();
    let id = ModuleId {
        identity: Identity::new(b"build"),
        kind: 3,
        edges: 50_000,
        name: "lib.so".into(),
        path: "/opt/lib.so".into(),
    };
    let map = ModuleMap::new(id, Hits::new(hits).unwrap()).unwrap();
    Snapshot::new(vec![map], Meta { executions, ..Meta::default() }).unwrap()
}

/// Not a test by itself: the process that the tests below start, and that never ends by itself.
#[test]
fn saver() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let path = Path::new(&folder).join("a.hitmap");
    for number in 0.. {
        match version(number).save(&path) {
            Ok(()) => println!("saved {number}"),
            Err(error) => return println!("refused {error}"),
        }
    }
}

fn start(folder: &Path, largest: Option<u64>) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "saver", "--nocapture"]).env(FOLDER, folder).stdout(Stdio::piped());
    if let Some(largest) = largest {
        let limit = libc::rlimit { rlim_cur: largest, rlim_max: largest };
        // SAFETY: only system calls between fork and exec; ignored signals stay ignored.
        unsafe {
            command.pre_exec(move || {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
    }
    command.spawn().unwrap()
}

#[test]
fn a_killed_save_leaves_the_old_file_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hitmap");
    for round in 1..=12 {
        let mut saver = start(folder.path(), None);
        let mut last = 0;
        let lines = BufReader::new(saver.stdout.take().unwrap()).lines();
        let saved = lines.map_while(Result::ok).filter_map(|line| line.split("saved ").nth(1)?.parse().ok());
        for number in saved.take(round) {
            last = number;
            Snapshot::load(&path).expect("a file is whole while the next one is being saved");
        }
        saver.kill().unwrap();
        saver.wait().unwrap();
        let left = Snapshot::load(&path).expect("a file is whole after its saver was killed");
        assert!(left.meta.executions >= last);
        assert_eq!(left, version(left.meta.executions));
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name == "a.hitmap" || (name.starts_with(".hitmap-") && name.ends_with(".tmp")), "{name}");
        }
    }
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hitmap");
    version(3).save(&path).unwrap();
    let told = start(folder.path(), Some(10_000)).wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("refused ") && told.contains("a.hitmap: cannot save it"), "{told}");
    assert_eq!(Snapshot::load(&path).unwrap(), version(3));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no leftovers");
}
