//! Builds what an example's README has `hitmap-clang++` build, from this source tree and without Python:
//! the flags are those that `hitmap flags` prints.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

const COVERAGE: &str = "-fsanitize-coverage=edge,inline-8bit-counters,inline-bool-flag,pc-table";

/// Builds `source` with coverage; `more` is what else the compiler is told. Gives the folder of the
/// runtime.
pub fn instrumented(source: &Path, out: &Path, more: &[&str]) -> PathBuf {
    build(source, out, &["hitmap_stub"], more)
}

/// The same, and what is compared is logged.
pub fn comparing(source: &Path, out: &Path, more: &[&str]) -> PathBuf {
    let wraps = format!("-Wl,@{}", stub().join("comparisons.args").display());
    let more = [more, &["-fsanitize-coverage=trace-cmp", &wraps]].concat();
    build(source, out, &["hitmap_stub", "hitmap_comparisons"], &more)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn stub() -> PathBuf {
    root().join("runtime/stub")
}

fn build(source: &Path, out: &Path, objects: &[&str], more: &[&str]) -> PathBuf {
    let (stub, runtime) = (stub(), runtime(&root()));
    let mut build = clang("clang++");
    build.args(["-O2", "-fPIC", "-gline-tables-only", "-fno-sanitize-link-runtime", COVERAGE]).arg(source);
    for name in objects {
        let object = out.with_extension(format!("{name}.o"));
        ok(clang("clang").args(["-O2", "-fPIC", "-c"]).arg(stub.join(name).with_extension("c")).arg("-o").arg(&object));
        build.arg(object);
    }
    build.arg(format!("-Wl,-T,{}", stub.join("isolate.ld").display())).arg("-Wl,--build-id=sha1");
    build.args(["-Wl,--no-as-needed"]).arg(runtime.join("libhitmap_rt.so"));
    build.arg(format!("-Wl,-rpath,{}", runtime.display())).args(more).arg("-o").arg(out);
    ok(&mut build);
    runtime
}

/// Cargo does not build a cdylib for the sake of another package's tests.
fn runtime(root: &Path) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.parent().and_then(Path::parent).expect("deps lies in the profile's folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "hitmap-runtime", "--target-dir"]);
    cargo.arg(profile.parent().expect("the profile's folder lies in the target folder"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    ok(cargo.current_dir(root));
    profile.to_owned()
}

fn clang(name: &str) -> Command {
    let versioned = format!("{name}-19");
    let there = Command::new(&versioned).arg("--version").output().is_ok_and(|said| said.status.success());
    Command::new(if there { versioned } else { name.to_owned() })
}

fn ok(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}
