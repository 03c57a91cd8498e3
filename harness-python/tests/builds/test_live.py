"""Functions that are recorded while a plain program runs, for llvm-covmap's readers: no Python is in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hitmap.build import shim, toolchain, variants
from hitmap.build.__main__ import main

HITMAP = Path(sys.executable).parent / "hitmap"

# Four functions run, one does not; each has a name of its own, so each has a bit of its own.
PROGRAM = """\
#include <cstdio>
#include <cstdlib>
static volatile int n = 3;
__attribute__((noinline)) static int local(int v) { return v * n; }
__attribute__((noinline)) int shared(int v) { return v > 2 ? local(v) : n; }
struct Early { Early() { n = 4; } } early;
__attribute__((noinline)) int never(int v) { return v + n; }
int main(int count, char **) {
  if (count > 9) return never(count);
  std::printf("%d\\n", shared(5));
  if (count > 1) std::abort();
  return 7;
}
"""
LIBRARY = 'extern "C" int size(int n) { return n > 3 ? 1 : 2; }\n'


@pytest.fixture
def compiler(tmp_path):
    """Runs hitmap-clang++ in the test's folder."""
    made = shim.write(str(tmp_path / "compilers"), [f"--hitmap-clang={toolchain.find()}"])[1]

    def run(*words, failing=False):
        done = subprocess.run([made, *words], cwd=tmp_path, capture_output=True, text=True)
        assert failing or (done.returncode, done.stderr) == (0, ""), done.stderr
        return done

    (tmp_path / "main.cpp").write_text(PROGRAM)
    (tmp_path / "lib.cpp").write_text(LIBRARY)
    return run


class Bitmap:
    """An object as llvm-covmap's readers make it."""

    def __init__(self, size=4096):
        self.name = f"/hitmap-live-{os.getpid()}"
        self.path, self.size = Path(f"/dev/shm{self.name}"), size
        self.path.write_bytes(bytes(size))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.path.unlink(missing_ok=True)

    def run(self, *command, folder, **more):
        environ = {**os.environ, "LLVM_COVMAP_SHM_NAME": self.name, "LLVM_COVMAP_SHM_SIZE": str(self.size), **more}
        environ.pop("HITMAP_MAP", None)
        return subprocess.run([*map(str, command)], cwd=folder, env=environ, capture_output=True, text=True)

    @property
    def bits(self):
        return sum(byte.bit_count() for byte in self.path.read_bytes())


@pytest.mark.parametrize("options", [
    "--hitmap-live", "--hitmap-live -O2", "--hitmap-live -O2 -g -Wall -Wextra -Werror", "--hitmap-live -no-pie", "--hitmap-live -O2 -s",
    "--hitmap-live --hitmap-func --hitmap-guard", "--hitmap-variant=live", "--hitmap-live --hitmap-guard",
    "--hitmap-live --hitmap-lto --hitmap-func", "--hitmap-live --hitmap-lto -O1", "--hitmap-live -Wl,--as-needed", "--hitmap-live -Wl,--gc-sections",
    "--hitmap-live --hitmap-ubsan",
])
def test_a_plain_program_records_its_functions(tmp_path, compiler, options):
    compiler(*options.split(), "main.cpp", "-o", "main")
    with Bitmap() as bitmap:
        done = bitmap.run("./main", folder=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (7, "20\n", "")
        # main, shared, local and the two parts of the early object's constructor, as far as none was put in line.
        assert 4 <= bitmap.bits <= 8
        first = bitmap.path.read_bytes()
        bitmap.run("./main", folder=tmp_path)
        assert bitmap.path.read_bytes() == first, "the same functions have the same bits"
    done = subprocess.run([HITMAP, "run", "--", "./main"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "20\n") and 4 <= int(done.stderr.split()[1]) <= 8, done.stderr


def test_compiled_and_linked_apart_by_the_printed_flags(tmp_path, compiler, capsys):
    lines = {}
    for which in ("compile", "link"):
        assert main(["flags", f"--{which}", "--live"]) == 0
        lines[which] = capsys.readouterr().out.split()
    subprocess.run([toolchain.find(), *lines["compile"], "-c", "main.cpp"], cwd=tmp_path, check=True)
    subprocess.run([toolchain.find(), "main.o", *lines["link"], "-lstdc++", "-o", "main"], cwd=tmp_path, check=True)
    with Bitmap() as bitmap:
        assert bitmap.run("./main", folder=tmp_path).stderr == "" and bitmap.bits >= 4


def test_what_a_program_covered_outlives_its_crash(tmp_path, compiler):
    compiler("--hitmap-live", "main.cpp", "-o", "main")
    with Bitmap() as bitmap:
        assert bitmap.run("./main", "crash", folder=tmp_path).returncode == -6 and bitmap.bits >= 4


def test_a_program_and_its_library_share_one_runtime(tmp_path, compiler):
    compiler("--hitmap-live", "-shared", "lib.cpp", "-o", "libsize.so")
    (tmp_path / "both.cpp").write_text('extern "C" int size(int);\nint main() { return size(1); }\n')
    compiler("--hitmap-live", "both.cpp", "libsize.so", "-Wl,-rpath,$ORIGIN", "-o", "both")
    with Bitmap() as bitmap:
        done = bitmap.run("./both", folder=tmp_path)
        assert (done.returncode, done.stderr, bitmap.bits) == (2, "", 2)
    with Bitmap() as bitmap:
        script = "import ctypes; print(ctypes.CDLL('./libsize.so').size(9))"
        assert bitmap.run(sys.executable, "-c", script, folder=tmp_path).stdout == "1\n" and bitmap.bits == 1


def test_without_the_variables_nothing_is_said_and_nothing_left(tmp_path, compiler):
    compiler("--hitmap-live", "main.cpp", "-o", "main")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LLVM_COVMAP")}
    done = subprocess.run(["./main"], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")


LOAD = "import ctypes; lib = ctypes.CDLL('./lib.so'); lib.size(1)"


@pytest.mark.parametrize("name", ["LLVM_COVMAP_SHM_NAME", "HITMAP_MAP"])
@pytest.mark.parametrize("what, options, command, said", [
    ("main", "--hitmap-func --hitmap-guard", ["./main"], 1),
    ("main", "", ["./main"], 1),
    ("main", "-static", ["./main"], 1),
    ("main", "-no-pie", ["./main"], 1),
    ("main", "--hitmap-lto", ["./main", "crash"], 1),
    ("lib.so", "-shared --hitmap-guard", [sys.executable, "-c", LOAD], 1),
    ("lib.so", "-shared", [sys.executable, "-c", LOAD + "; import os; os.fork()"], 1),
    ("lib.so", "-shared --hitmap-guard", [sys.executable, "-c", LOAD + "; import hitmap"], 0),
    ("lib.so", "-shared --hitmap-guard", [sys.executable, "-c", "import hitmap; " + LOAD], 0),
])
def test_a_missing_runtime_is_said_once(tmp_path, compiler, name, what, options, command, said):
    compiler(*options.split(), "lib.cpp" if what == "lib.so" else "main.cpp", "-o", what)
    environ = {key: value for key, value in os.environ.items() if key not in ("LLVM_COVMAP_SHM_NAME", "HITMAP_MAP")}
    bitmap = f"/hitmap-live-absent-{os.getpid()}"
    done = subprocess.run(command, cwd=tmp_path, env={**environ, name: bitmap}, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if "no libhitmap_rt.so" in line]
    assert len(lines) == said, done.stderr
    for line in lines:
        assert line.startswith("hitmap: ") and name in line and "--hitmap-live" in line
        assert "-static" in options or what in line
    # A descriptor of an engine's is closed in grandchildren, and nobody has to hear of it.
    assert subprocess.run(command, cwd=tmp_path, env={**environ, "HITMAP_MAP": "fd:3:0"}, capture_output=True, text=True).stderr.count(
        "no libhitmap_rt.so") == 0


@pytest.mark.parametrize("words, says", [
    (["--hitmap-live", "-static"], "leave out -static"), (["--hitmap-live", "-static-pie"], "leave out -static"),
    (["--hitmap-live", "--hitmap-cmp"], "live needs guards"), (["--hitmap-variant=live+counters"], "live needs guards"),
])
def test_what_cannot_be_live_is_refused(compiler, words, says):
    done = compiler(*words, "main.cpp", "-o", "main", failing=True)
    assert done.returncode == 4 and says in done.stderr


def test_a_package_without_its_runtime_says_so(monkeypatch):
    monkeypatch.setattr(toolchain, "RUNTIME", "/nowhere/libhitmap_rt.so")
    with pytest.raises(toolchain.NoClang, match="pip install hitmap"):
        variants.link_flags(variants.named("live"), toolchain.find())
