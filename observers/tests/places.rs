//! Places of edges, read from the files of libraries that clang built.

use std::path::{Path, PathBuf};
use std::process::Command;

use hitmap_observers::places::{Library, Place, PlacesError};
use hitmap_observers::snapshot::ModuleId;
use hitmap_wire::identity::{self, Identity};
use hitmap_wire::modules::{COUNTERS, PC_TABLE};

/// `outer` can be interposed, so its address is a symbol's; the others' follow from the load address.
const SOURCE: &str = "\
namespace shape {
static __attribute__((noinline)) int inner(int x) { return x + 7; }
inline __attribute__((always_inline)) int twice(int x) {
  if (x > 5) return inner(x);
  return x * 2;
}
int outer(int x) { return twice(x); }
}
";

const PLAIN: &[&str] = &["-g"];

fn build(folder: &Path, options: &[&str]) -> PathBuf {
    let (source, out) = (folder.join("shape.cpp"), folder.join("shape.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let clang = std::env::var_os("HITMAP_CLANG").unwrap_or("clang-19".into());
    let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/stub");
    let mut command = Command::new(clang);
    command.args(["-O1", "-fPIC", "-shared", "-nostdlib", "-fno-sanitize-link-runtime"]).current_dir(folder);
    command.arg("-fsanitize-coverage=edge,inline-8bit-counters,pc-table").args(options).arg("shape.cpp");
    command.args(["-x", "c"]).arg(stub.join("hitmap_stub.c"));
    command.arg(format!("-Wl,-T,{}", stub.join("isolate.ld").display()));
    let output = command.arg("-o").arg(&out).output().expect("clang");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

fn places(library: &Library) -> Vec<Place> {
    (0..library.edges() as u32).map(|local| library.place(local).unwrap()).collect()
}

/// Functions and lines, sorted; and whether one of them is an entry.
#[track_caller]
fn check(options: &[&str], expect: &[(&str, u32, bool)]) {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(build(folder.path(), options)).unwrap();
    let mut found = places(&library);
    found.sort();
    let found: Vec<(&str, u32, bool)> = found.iter().map(|p| (p.function.as_str(), p.line, p.entry)).collect();
    assert_eq!(found, expect, "{options:?}");
    assert_eq!(library.place(library.edges() as u32), None);
}

#[test]
fn an_edge_has_its_function_and_line() {
    let expect = [
        ("shape::inner(int)", 2, true),
        ("shape::outer(int)", 7, true),
        ("shape::twice(int)", 4, false),
        ("shape::twice(int)", 5, false),
    ];
    for options in [
        PLAIN,
        &["-g", "-Wl,-Bsymbolic"],
        &["-g", "-Wl,--gc-sections", "-ffunction-sections"],
        &["-g", "-Wl,--build-id=none"],
        &["-g", "-Wl,-z,pack-relative-relocs"],
    ] {
        check(options, &expect);
    }
    let alone = [expect[0], expect[1], ("twice", 4, false), ("twice", 5, false)];
    check(&["-gline-tables-only"], &alone);
}

#[test]
fn without_debug_information_there_are_symbols() {
    let outer = ("shape::outer(int)", 0, false);
    check(&[], &[("shape::inner(int)", 0, true), outer, outer, ("shape::outer(int)", 0, true)]);
    // Stripped, only what can be looked up has a name.
    let folder = tempfile::tempdir().unwrap();
    let mut stripped = places(&Library::open(build(folder.path(), &["-s"])).unwrap());
    stripped.retain(|place| place.function.is_empty());
    assert!(stripped.len() == 1 && stripped[0].entry && stripped[0].offset != 0, "{stripped:?}");
}

#[test]
fn a_file_has_the_identity_of_the_loaded_library() {
    for id in ["sha1", "md5", "0x00ff", "none"] {
        let folder = tempfile::tempdir().unwrap();
        let path = build(folder.path(), &[&format!("-Wl,--build-id={id}")]);
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: loads a library of this test, whose constructor finds no runtime.
        assert!(!unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) }.is_null());
        let loaded = identity::all_loaded().into_iter().find(|l| l.path == name.as_bytes()).unwrap();
        assert_eq!(Library::open(&path).unwrap().identity(), loaded.identity, "{id}");
    }
}

#[test]
fn a_module_that_was_counted_is_opened_when_it_is_the_same_build() {
    let folder = tempfile::tempdir().unwrap();
    let path = build(folder.path(), PLAIN);
    let identity = Library::open(&path).unwrap().identity();
    let module = ModuleId {
        identity,
        kind: COUNTERS | PC_TABLE,
        edges: 4,
        name: "shape.so".into(),
        path: path.display().to_string(),
        below: String::new(),
    };
    assert_eq!(Library::of(&module).unwrap().edges(), 4);
    let refused = |change: fn(&mut ModuleId)| {
        let mut module = module.clone();
        change(&mut module);
        Library::of(&module).err().unwrap()
    };
    let changed = refused(|m| m.identity = Identity::new(&[1, 2]));
    assert!(matches!(&changed, PlacesError::Changed { .. }));
    for part in ["shape.so: the file is build ", "but build 0102 was counted", &identity.to_string()] {
        assert!(changed.to_string().contains(part), "{changed}");
    }
    assert!(refused(|m| m.kind = COUNTERS).to_string().contains("pc-table"));
    assert!(matches!(refused(|m| m.edges = 5), PlacesError::NoTable { .. }));
    for path in ["/nowhere/shape.so", "/dev/zero", "/proc", ""] {
        let mut module = module.clone();
        module.path = path.into();
        let error = Library::of(&module).err().unwrap();
        assert!(matches!(error, PlacesError::Unreadable { .. }) && error.to_string().starts_with(path), "{error}");
    }
}

#[test]
fn a_damaged_file_is_refused_or_read_and_never_breaks_us() {
    let folder = tempfile::tempdir().unwrap();
    let path = build(folder.path(), &[]);
    let whole = std::fs::read(&path).unwrap();
    let broken = folder.path().join("broken.so");
    let check = |bytes: &[u8]| {
        std::fs::write(&broken, bytes).unwrap();
        if let Ok(library) = Library::open(&broken) {
            places(&library);
        }
    };
    (0..whole.len()).step_by(611).for_each(|len| check(&whole[..len]));
    let sections = u64::from_le_bytes(whole[40..48].try_into().unwrap()) as usize;
    for at in (0..700).chain(sections..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xFF;
        check(&bytes);
    }
    std::fs::write(&broken, "no library").unwrap();
    assert!(matches!(Library::open(&broken), Err(PlacesError::Malformed { .. })));
}
