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
        below: String::new(),
    };
    let map = ModuleMap::new(id, Hits::new(hits).unwrap()).unwrap();
    Snapshot::new(vec![map], Meta { executions, ..Meta::default() })
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

const TRACED: &str = "HITMAP_TEST_SAVES_TRACED_IN";

/// Not a test by itself: the process that saves once, as the tracee of whoever started it.
#[test]
fn traced_saver() {
    let Some(folder) = std::env::var_os(TRACED) else { return };
    let snapshot = version(2);
    // SAFETY: asks to be traced by the parent, and stops this thread until that has been seen.
    unsafe {
        assert_eq!(libc::ptrace(libc::PTRACE_TRACEME), 0, "{}", std::io::Error::last_os_error());
        libc::raise(libc::SIGSTOP);
    }
    let saved = snapshot.save(Path::new(&folder).join("a.hitmap"));
    // SAFETY: ends the process here, so that no system call of the test harness is counted.
    unsafe { libc::_exit(i32::from(saved.is_err())) }
}

/// The next thing that a process of this thread tells, and which thread of it.
fn heard() -> (i32, i32) {
    let mut status = 0;
    // SAFETY: `status` is ours. The flag leaves children of the other tests' threads to them.
    let who = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
    assert!(who > 0, "{}", std::io::Error::last_os_error());
    (who, status)
}

/// Saves in a process of its own, which is killed when it is about to make its system call number
/// `fatal`, counted from 0 where the save begins. Returns whether it was killed before it was done.
fn save_killed_before(fatal: usize, folder: &Path) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "traced_saver"]).env(TRACED, folder).stdout(Stdio::null());
    let process = command.spawn().unwrap().id() as i32;
    let (thread, mut status) = heard();
    assert!(libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGSTOP, "not a tracee: {status:#x}");
    // Each call stops twice, before and after.
    for _ in 0..=2 * fatal {
        // SAFETY: the thread is our tracee, and stopped; nothing is passed by address.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SYSCALL, thread, 0, 0) }, 0);
        (_, status) = heard();
        if !libc::WIFSTOPPED(status) {
            break;
        }
        assert_eq!(libc::WSTOPSIG(status), libc::SIGTRAP);
    }
    let was_stopped = libc::WIFSTOPPED(status);
    if was_stopped {
        // SAFETY: our child, not yet waited for. A call that a killed process stands before is not made.
        unsafe { libc::kill(process, libc::SIGKILL) };
    } else {
        assert_eq!(libc::WEXITSTATUS(status), 0, "the save failed");
    }
    let mut last = if was_stopped { 0 } else { thread };
    while last != process {
        (last, _) = heard();
    }
    was_stopped
}

#[test]
fn a_save_killed_at_any_system_call_leaves_the_old_file_or_the_new_one() {
    for old in [None, Some(version(1))] {
        let mut left = Vec::new();
        for fatal in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.hitmap");
            old.iter().for_each(|old| old.save(&path).unwrap());
            let was_killed = save_killed_before(fatal, folder.path());
            let found = path.exists().then(|| Snapshot::load(&path).expect("a whole file, whenever its saver died"));
            let is_new = found == Some(version(2));
            assert!(is_new || found == old, "killed before call {fatal}");
            left.push(is_new);
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(name == "a.hitmap" || (name.starts_with(".hitmap-") && name.ends_with(".tmp")), "{name}");
            }
            version(3).save(&path).expect("a leftover is in nobody's way");
            assert_eq!(Snapshot::load(&path).unwrap(), version(3));
            if !was_killed {
                break;
            }
        }
        assert!(left.is_sorted() && !left[0] && left[left.len() - 1], "old files, then new ones: {left:?}");
        assert!(left.len() > 5, "a save opens, writes, syncs, renames and syncs: {left:?}");
    }
}
