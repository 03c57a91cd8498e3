//! Builds what an example's README has `hitmap-clang++` build, from this source tree and without Python:
//! the flags are those that `hitmap flags` prints.

use std::path::{Path, PathBuf};
use std::process::Command;

const COVERAGE: &str = "-fsanitize-coverage=edge,inline-8bit-counters,inline-bool-flag,pc-table";

/// Builds `source` with coverage; `link` is what else the linker is told. Gives the folder of the runtime.
pub fn instrumented(source: &Path, out: &Path, link: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (stub, object) = (root.join("runtime/stub"), out.with_extension("stub.o"));
    ok(clang("clang").args(["-O2", "-fPIC", "-c"]).arg(stub.join("hitmap_stub.c")).arg("-o").arg(&object));
    let runtime = runtime(&root);
    let mut build = clang("clang++");
    build.args(["-O2", "-fPIC", "-gline-tables-only", "-fno-sanitize-link-runtime", COVERAGE]).arg(source);
    build.arg(&object).arg(format!("-Wl,-T,{}", stub.join("isolate.ld").display())).arg("-Wl,--build-id=sha1");
    build.args(["-Wl,--no-as-needed"]).arg(runtime.join("libhitmap_rt.so"));
    build.arg(format!("-Wl,-rpath,{}", runtime.display())).args(link).arg("-o").arg(out);
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
