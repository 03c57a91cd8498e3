"""Saved maps and live bitmaps on the command line: merge, diff, show, run, watch."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import hitmap
import pytest
from hitmap.build import toolchain
from hitmap.compat import maps

from campaign import HITMAP, Hitmap, contents, until
from puzzles import puzzle
from puzzles.build import compiled
from test_bad_input import check_refusal

SHM = Path("/dev/shm")
GOLDEN = Path(__file__).resolve().parent.parent / "observers" / "tests" / "golden"
VERBS = ("merge", "diff", "show", "run", "watch")

SAVE = """
import sys, hitmap, coverage_only
coverage_only.run(sys.argv[1].encode())
hitmap.coverage().snapshot().save(sys.argv[2])
"""
COMPARE = """
import json, hitmap
a, b = hitmap.Snapshot.load("a.hitmap"), hitmap.Snapshot.load("b.hitmap")
print(json.dumps({"only_a": (a - b).hits, "only_b": (b - a).hits, "both": (a & b).hits}))
"""
# Sets five bits, as a target's runtime would.
SETS_BITS = """
import os, signal, sys
name, size = os.environ["LLVM_COVMAP_SHM_NAME"], int(os.environ["LLVM_COVMAP_SHM_SIZE"])
with open("/dev/shm/" + name.lstrip("/"), "r+b") as bitmap:
    assert len(bitmap.read()) == size
    bitmap.seek(0)
    bitmap.write(bytes([0x81, 0, 7]))
"""


def python(hitmap_, program: str, *arguments, folder: Path | None = None) -> str:
    environment = {**hitmap_.environment, **({"PYTHONPATH": str(folder)} if folder else {})}
    run = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment, cwd=hitmap_.cwd, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def snapshots(built, hitmap_):
    """a.hitmap and b.hitmap, of one build, and what hitmap's algebra says of them."""
    built.harness("coverage_only")
    python(hitmap_, SAVE, "0", "a.hitmap")
    python(hitmap_, SAVE, "1", "b.hitmap")
    shares = json.loads(python(hitmap_, COMPARE))
    assert all(shares.values()), shares
    return shares


@pytest.fixture
def other_build(built, hitmap_, tmp_path, snapshots) -> str:
    """other.hitmap, of the same library compiled in another way."""
    folder = tmp_path / "rebuilt"
    folder.mkdir()
    compiled(puzzle.FOLDER / "coverage_only.cpp", folder / built.module("coverage_only").name, "-O2")
    python(hitmap_, SAVE, "0", "other.hitmap", folder=folder)
    return "other.hitmap"


@pytest.fixture
def name():
    """A shared memory object's name, that nothing has when the test is over."""
    name = f"/hitmap-test-{uuid.uuid4().hex}"
    yield name
    left = SHM / name[1:]
    was_left = left.exists()
    left.unlink(missing_ok=True)
    assert not was_left, "it was removed"


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(hitmap_, verb):
    ended = hitmap_(verb, "--help")
    assert ended.code == 0
    assert f"Examples:\n  hitmap {verb} " in ended.out


def test_merge_is_the_union_in_any_order(hitmap_, snapshots, tmp_path):
    for out, inputs in (("ab.hitmap", "ab"), ("ba.hitmap", "ba")):
        ended = hitmap_("merge", "-o", out, *(f"{one}.hitmap" for one in inputs))
        assert ended.code == 0, ended.said
    assert (tmp_path / "ab.hitmap").read_bytes() == (tmp_path / "ba.hitmap").read_bytes()
    shown = json.loads(hitmap_("show", "ab.hitmap", "--json").out)
    assert shown["hits"] == sum(snapshots.values())
    python(
        hitmap_,
        "import hitmap\na, b, ab = (hitmap.Snapshot.load(f'{n}.hitmap') for n in ('a', 'b', 'ab'))\nassert a | b == ab",
    )


def test_merge_of_many_in_json(hitmap_, snapshots, tmp_path):
    for number in range(40):
        (tmp_path / f"{number}.hitmap").write_bytes((tmp_path / f"{'ab'[number % 2]}.hitmap").read_bytes())
    files = [f"{number}.hitmap" for number in range(40)]
    ended = hitmap_("merge", "-o", "all.hitmap", *files, files[0], "--json")
    assert ended.code == 0, ended.said
    merged = json.loads(ended.out)
    assert merged["snapshots"] == 40, "one that is named twice counts once"
    assert merged["hits"] == sum(snapshots.values())


def test_merge_refuses_another_build_and_names_both(hitmap_, other_build, tmp_path):
    identities = {json.loads(hitmap_("show", file, "--json").out)["modules"][0]["identity"] for file in
                  ("a.hitmap", other_build)}  # fmt: skip
    assert len(identities) == 2
    before = contents(tmp_path)
    check_refusal(
        hitmap_("merge", "-o", "all.hitmap", "a.hitmap", "b.hitmap", other_build),
        (*identities, "coverage_only", "a.hitmap", "other.hitmap", "--force"),
    )
    assert contents(tmp_path) == before, "nothing is written"
    assert hitmap_("merge", "--force", "-o", "all.hitmap", "a.hitmap", other_build).code == 0
    modules = json.loads(hitmap_("show", "all.hitmap", "--json").out)["modules"]
    assert {module["identity"] for module in modules} == identities


def test_diff_counts_what_differs(hitmap_, snapshots):
    ended = hitmap_("diff", "a.hitmap", "b.hitmap", "--json")
    assert ended.code == 0, ended.said
    diff = json.loads(ended.out)
    assert diff["total"] == snapshots
    assert [{key: module[key] for key in snapshots} for module in diff["modules"]] == [snapshots]
    text = hitmap_("diff", "a.hitmap", "b.hitmap").out.splitlines()
    assert text[0].split()[:3] == ["only", "A", "only"]
    assert text[-1].split()[:3] == [str(snapshots[key]) for key in ("only_a", "only_b", "both")]


def test_diff_of_two_builds_says_so(hitmap_, other_build):
    ended = hitmap_("diff", "a.hitmap", other_build)
    assert ended.code == 0
    assert "note: coverage_only" in ended.err
    assert len(json.loads(hitmap_("diff", "a.hitmap", other_build, "--json").out)["conflicts"]) == 1


def test_a_campaign_folder_is_a_snapshot(built, hitmap_, out, tmp_path):
    harness = built.harness("coverage_only")
    assert hitmap_("fuzz", harness, "-o", out.folder, "--seed", 1, "--max-execs", 2000).code == 0
    shown = json.loads(hitmap_("show", out.folder, "--json").out)
    assert shown["meta"]["executions"] >= 2000
    assert 0 < shown["hits"] <= shown["edges"]
    assert sum(shown["classes"].values()) == shown["hits"]
    assert hitmap_("merge", "-o", "all.hitmap", out.folder).code == 0
    diff = json.loads(hitmap_("diff", out.folder, "all.hitmap", "--json").out)
    assert diff["total"] == {"only_a": 0, "only_b": 0, "both": shown["hits"]}
    text = hitmap_("show", out.folder).out
    assert shown["modules"][0]["identity"] in text and "executions" in text


def test_show_names_the_functions_that_were_hit(hitmap_, snapshots, built, tmp_path):
    ended = hitmap_("show", "a.hitmap")
    assert ended.code == 0, ended.said
    run = next(line for line in ended.out.splitlines() if line.endswith("  run(unsigned char const*, unsigned long)"))
    source = f"{puzzle.FOLDER}/coverage_only.cpp"
    line = 1 + Path(source).read_text().splitlines().index("void run(const uint8_t *data, size_t len) {")
    assert run.split()[2:4] == [built.module("coverage_only").name, f"{source}:{line}"]
    shown = json.loads(hitmap_("show", "a.hitmap", "--json", "--functions").out)
    (module,) = shown["functions"]
    assert sum(function["hits"] for function in module["functions"]) == shown["hits"]
    assert {(f["file"], f["line"]) for f in module["functions"] if f["function"].startswith("run(")} == {(source, line)}
    assert "functions" not in json.loads(hitmap_("show", "a.hitmap", "--json").out)


def test_show_says_why_functions_have_no_names(hitmap_, other_build, built, tmp_path):
    for file, says in ((other_build, "was counted"), ("gone.hitmap", "No such file")):
        if file == "gone.hitmap":
            library = tmp_path / "lost" / built.module("coverage_only").name
            library.parent.mkdir()
            library.write_bytes(built.module("coverage_only").read_bytes())
            python(hitmap_, SAVE, "0", file, folder=library.parent)
            library.unlink()
        else:
            path = json.loads(hitmap_("show", file, "--json").out)["modules"][0]["path"]
            Path(path).write_bytes(built.module("coverage_only").read_bytes())
        ended = hitmap_("show", file)
        assert ended.code == 0 and "edges hit" in ended.out
        assert "functions not named: " in ended.out and says in ended.out, ended.out
        (module,) = json.loads(hitmap_("show", file, "--functions", "--json").out)["functions"]
        assert module["functions"] is None and says in module["why"]


@pytest.mark.parametrize("verb", [["show"], ["diff", "a.hitmap"], ["merge", "-o", "x.hitmap", "a.hitmap"]], ids=str)
def test_what_is_no_snapshot_is_refused_by_name(hitmap_, snapshots, tmp_path, verb):
    whole = (tmp_path / "a.hitmap").read_bytes()
    (tmp_path / "cut.hitmap").write_bytes(whole[:-1])
    (tmp_path / "flipped.hitmap").write_bytes(whole[:40] + bytes([whole[40] ^ 4]) + whole[41:])
    for name in ("later-version.hitmap", "ten-gigabytes.hitmap", "v1-features.hitmap"):
        (tmp_path / name).write_bytes((GOLDEN / name).read_bytes())
    (tmp_path / "other.bin").write_bytes(b"something else" * 10)
    (tmp_path / "empty.hitmap").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    wrong = {
        "cut.hitmap": "it ends after", "flipped.hitmap": "checksum", "later-version.hitmap": "newer hitmap",
        "ten-gigabytes.hitmap": "it ends after 100 of", "v1-features.hitmap": "a feature log", "other.bin": "begin",
        "empty.hitmap": "it is empty", "folder": "coverage.hitmap", "pipe": "a pipe", "missing.hitmap": "no such file",
    }  # fmt: skip
    for name, why in wrong.items():
        check_refusal(hitmap_(*verb, name), (name, why))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("out", "says"), [("folder", "it is a folder"), ("no/where.hitmap", "there is no folder")])
def test_merge_says_where_it_cannot_write(hitmap_, snapshots, tmp_path, out, says):
    (tmp_path / "folder").mkdir()
    check_refusal(hitmap_("merge", "-o", out, "a.hitmap"), (out, says))


def test_run_counts_bits_and_passes_the_exit_code_on(hitmap_, name):
    program = SETS_BITS + "sys.exit(7)"
    ended = hitmap_("run", "--name", name, "--size", 64, "--", sys.executable, "-c", program)
    assert (ended.code, ended.out) == (7, "")
    assert ended.err == "hitmap: 5 of 512 bits covered (0.977 %)\n"


def test_run_needs_no_name(hitmap_):
    before = set(SHM.glob("hitmap-run-*"))
    ended = hitmap_("run", "--", sys.executable, "-c", SETS_BITS)
    assert ended.code == 0
    assert "5 of 8,388,608 bits" in ended.err
    assert set(SHM.glob("hitmap-run-*")) <= before


def test_run_counts_what_a_crash_left(hitmap_, name):
    program = SETS_BITS + "os.kill(os.getpid(), signal.SIGKILL)"
    ended = hitmap_("run", "--name", name, "--size", 8, "--", sys.executable, "-c", program)
    assert ended.code == 128 + signal.SIGKILL
    assert "5 of 64 bits" in ended.err


def test_run_says_what_to_do_when_nothing_was_recorded(hitmap_, name):
    ended = hitmap_("run", "--name", name, "--", "true")
    assert ended.code == 0
    assert "0 of 8,388,608 bits covered; build with hitmap-clang++ --hitmap-live" in ended.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_with_its_command(hitmap_, name, number, tmp_path):
    program = SETS_BITS + "signal.signal(signal.SIGINT, signal.SIG_DFL); open('ready', 'w'); signal.pause()"
    with hitmap_.start("run", "--name", name, "--size", 8, "--", sys.executable, "-c", program) as running:
        until((tmp_path / "ready").exists, "the command to be ready")
        running.process.send_signal(number)
        ended = running.end()
    assert ended.code == 128 + number
    assert "5 of 64 bits" in ended.err


def test_run_refuses_what_it_cannot_do(hitmap_, name):
    check_refusal(hitmap_("run", "--name", name, "--", "./no-such-program"), ("no-such-program",))
    check_refusal(hitmap_("run", "--name", "/a/b", "--", "true"), ("/a/b", "--name"))
    assert hitmap_("run", "--size", "12", "--", "true").code == 4
    assert hitmap_("run").code == 4
    (SHM / name[1:]).write_bytes(bytes(8))
    check_refusal(hitmap_("run", "--name", name, "--", "true"), (name, "choose another"))
    assert (SHM / name[1:]).read_bytes() == bytes(8), "it is left alone"
    (SHM / name[1:]).unlink()


def test_run_counts_functions_of_a_real_program(hitmap_, name, tmp_path):
    (tmp_path / "three.c").write_text("void one(void) {}\nvoid two(void) {}\nint main(void) { one(); return 3; }\n")
    runtime = Path(hitmap.__file__).parent / "_rt"
    # Linked without the flag: with it, clang adds a sanitizer's library that takes the callbacks.
    for flags in (
        ["-O0", "-fsanitize-coverage=func,trace-pc-guard,pc-table", "-c", "three.c"],
        ["three.o", "-o", "three", f"-L{runtime}", "-lhitmap_rt", f"-Wl,-rpath,{runtime}"],
    ):
        subprocess.run([toolchain.find(), *flags], cwd=tmp_path, check=True)
    ended = hitmap_("run", "--name", name, "--", "./three")
    assert ended.code == 3
    assert "hitmap: 2 of 8,388,608 bits" in ended.err, "main and one, and not two"


@pytest.mark.parametrize("variant", ["func+guard", "guard", "func+lto"])
def test_an_extension_sets_bits_that_another_process_reads_live(hitmap_, built, name, tmp_path, variant):
    compiled(
        puzzle.FOLDER / "coverage_only.cpp", tmp_path / built.module("coverage_only").name,
        f"--hitmap-variant={variant}",
    )  # fmt: skip
    program = (
        "import hitmap, coverage_only, signal\n"
        "signal.signal(signal.SIGUSR1, lambda *_: (coverage_only.run(b'0'), open('ran', 'w')))\n"
        "open('imported', 'w')\nwhile True: signal.pause()"
    )
    environment = {**built.environment(), "PYTHONPATH": str(tmp_path)}
    hitmap_ = Hitmap(tmp_path, environment)

    def bits() -> int:
        return int.from_bytes((SHM / name.lstrip("/")).read_bytes(), "little").bit_count()

    with hitmap_.start("run", "--name", name, "--", sys.executable, "-c", program) as running:
        until((tmp_path / "imported").exists, "the import")
        assert bits() == 1, "PyInit_coverage_only"
        (python,) = [pid for pid in running.alive() if pid != running.process.pid]
        os.kill(python, signal.SIGUSR1)
        until((tmp_path / "ran").exists, "the call")
        functions = bits()
        assert functions > 1
        os.kill(python, signal.SIGTERM)
        ended = running.end()
    assert f"hitmap: {functions} of 8,388,608 bits" in ended.err


def test_watch_writes_until_the_object_is_gone(hitmap_, name, tmp_path):
    (SHM / name[1:]).write_bytes(bytes([3]) + bytes(7))
    with hitmap_.start("watch", "--name", name, "--interval", 0.01, "--output", "cov.csv") as running:
        table = tmp_path / "cov.csv"
        until(lambda: table.exists() and ",2,64,0.03125\n" in table.read_text(), "a line")
        with open(SHM / name[1:], "r+b") as bitmap:
            bitmap.write(bytes([0xFF]))
        (SHM / name[1:]).unlink()
        ended = running.end()
    assert (ended.code, ended.out) == (0, "")
    lines = table.read_text().splitlines()
    assert lines[0] == "time,covered,total,ratio"
    rows = [line.split(",") for line in lines[1:]]
    assert [int(row[1]) for row in rows] == sorted(int(row[1]) for row in rows)
    assert rows[0][1:] == ["2", "64", "0.03125"] and rows[-1][1:] == ["8", "64", "0.125"]
    assert int(rows[0][0]) > 1_500_000_000, "seconds since 1970"


def test_watch_waits_for_the_object_and_ends_with_the_run(hitmap_, name):
    with hitmap_.start("watch", "--name", name, "--interval", 600) as watching:
        assert name in watching.process.stderr.readline()
        # The command stays until the watcher has the object open.
        os.mkfifo(hitmap_.cwd / "seen")
        program = SETS_BITS + "open('seen').read()"
        with hitmap_.start("run", "--name", name, "--size", 64, "--", sys.executable, "-c", program) as running:
            assert watching.process.stdout.readline() == "time,covered,total,ratio\n"
            (hitmap_.cwd / "seen").write_text("go on")
            assert running.end().code == 0
        ended = watching.end()
    assert ended.code == 0
    assert ended.out.splitlines()[-1].split(",")[1:3] == ["5", "512"]


def test_watch_ends_with_ctrl_c(hitmap_, name):
    (SHM / name[1:]).write_bytes(bytes(8))
    with hitmap_.start("watch", "--name", name) as running:
        assert running.process.stdout.readline().startswith("time,")
        running.signal(signal.SIGINT)
        assert running.end().code == 0
    assert (SHM / name[1:]).read_bytes() == bytes(8), "a watcher removes nothing"
    (SHM / name[1:]).unlink()


def test_watch_refuses_another_size(hitmap_, name):
    (SHM / name[1:]).write_bytes(bytes(8))
    check_refusal(hitmap_("watch", "--name", name, "--size", 16), (name, "8 bytes, not 16"))
    check_refusal(hitmap_("watch", "--name", "/a/b"), ("/a/b",))
    (SHM / name[1:]).unlink()


def test_three_are_compared_by_module_function_and_edge(hitmap_, snapshots):
    python(hitmap_, SAVE, "2", "c.hitmap")
    counts = {}
    for by, key in (("module", "modules"), ("function", "functions"), ("edge", "edges")):
        ended = hitmap_("diff", "a.hitmap", "b.hitmap", "c.hitmap", "--by", by, "--json")
        assert ended.code == 0, ended.said
        counts[by] = json.loads(ended.out)
        assert counts[by][key] and counts[by]["unplaced"] == []
        assert hitmap_("diff", "a.hitmap", "b.hitmap", "c.hitmap", "--by", by).code == 0
    assert counts["edge"]["total"] == counts["module"]["total"] == counts["function"]["total"]
    total = counts["edge"]["total"]
    assert len(counts["edge"]["edges"]) == sum(total.values()) - total["all"], "what all have is no difference"
    for by, key in (("function", "functions"), ("edge", "edges")):
        assert sum(row["only_c"] for row in counts[by][key]) == total["only_c"]
    assert all(edge["file"].endswith("coverage_only.cpp") and edge["line"] > 0 for edge in counts["edge"]["edges"])
    assert not counts["edge"]["a_is_subset_of_b"]
    two = json.loads(hitmap_("diff", "a.hitmap", "a.hitmap", "--json").out)
    assert two["a_is_subset_of_b"] and two["b_is_subset_of_a"]
    assert hitmap_("diff", "a.hitmap").code == 4
    assert hitmap_("diff", *["a.hitmap"] * 4).code == 4


# Two functions in a library, and a way to call either.
OLD = """\
#include <Python.h>

static volatile int sink;

__attribute__((noinline)) static void first(long n) {
  if (n > 3) sink = 1;
  while (n-- > 0) sink += n;
}

__attribute__((noinline)) static void second(long n) {
  if (n > 5) sink = 2;
  if (n > 7) sink = 3;
}

static PyObject *run(PyObject *self, PyObject *number) {
  first(PyLong_AsLong(number));
  second(PyLong_AsLong(number));
  Py_RETURN_NONE;
}
static PyMethodDef methods[] = {{"run", run, METH_O, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "twice", NULL, -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit_twice(void) { return PyModule_Create(&module); }
"""
# A function more, before the second, which moves down and gets higher numbers.
INSERTED = """\
__attribute__((noinline)) void inserted(long n) {
  if (n > 1) sink = 9;
  if (n > 2) sink = 8;
}

"""
CALL = "import sys, hitmap, twice\ntwice.run(int(sys.argv[1]))\nhitmap.coverage().snapshot().save(sys.argv[2])"


@pytest.fixture
def builds(hitmap_, tmp_path) -> dict[str, Path]:
    """One library's builds by name, with old.hitmap of the first and same.hitmap of the others."""
    sources = {
        "old": OLD,
        "inserted": OLD.replace("__attribute__((noinline)) static void second", INSERTED + "__attribute__((noinline)) static void second"),
        "changed": OLD.replace("  if (n > 7) sink = 3;\n", "  if (n > 6) { sink = 4; if (n > 7) sink = 3; }\n"),
    }  # fmt: skip
    found = {}
    for name, text in sources.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "twice.cpp").write_text(text)
        found[name] = tmp_path / name / "twice.so"
        compiled(tmp_path / name / "twice.cpp", found[name])
        python(hitmap_, CALL, "8", f"{name}.hitmap", folder=tmp_path / name)
    return found


def relocated(hitmap_, library, *more):
    ended = hitmap_("merge", "-o", "moved.hitmap", "old.hitmap", "--relocate", library, *more, "--json")
    assert ended.code == 0, ended.said
    [moved] = json.loads(ended.out)["relocated"]
    return moved


def test_hits_are_carried_over_a_function_that_was_inserted(hitmap_, builds):
    hits = json.loads(hitmap_("show", "old.hitmap", "--json").out)["hits"]
    moved = relocated(hitmap_, builds["inserted"])
    assert (moved["carried"], moved["dropped"]) == (hits, 0)
    assert moved["from"] != moved["to"]
    # The same call in the new build hits the same edges: nothing was carried to a wrong one.
    diff = json.loads(hitmap_("diff", "moved.hitmap", "inserted.hitmap", "--json").out)
    assert diff["total"] == {"only_a": 0, "only_b": 0, "both": hits} and diff["conflicts"] == []
    diff = json.loads(hitmap_("diff", "old.hitmap", "inserted.hitmap", "--relocate", builds["inserted"], "--json").out)
    assert diff["total"]["both"] == hits and diff["relocated"] == [moved]
    told = hitmap_("merge", "-o", "moved.hitmap", "old.hitmap", "inserted.hitmap", "--relocate", builds["inserted"])
    assert told.code == 0 and f"{hits} hits of build {moved['from']} were carried over" in told.out


def test_what_changed_is_dropped_and_counted(hitmap_, builds):
    moved = relocated(hitmap_, builds["changed"])
    assert moved["carried"] > 0 and moved["dropped"] > 0
    diff = json.loads(hitmap_("diff", "moved.hitmap", "changed.hitmap", "--json").out)
    assert diff["total"]["only_a"] == 0, "no edge is claimed that the call does not hit"


def test_the_old_build_is_found_or_asked_for(hitmap_, builds, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    builds["old"].rename(kept / "twice.so")
    said = hitmap_("merge", "-o", "moved.hitmap", "old.hitmap", "--relocate", builds["inserted"])
    check_refusal(said, ("twice.so", "--old", str(builds["old"])))
    assert not (tmp_path / "moved.hitmap").exists()
    assert relocated(hitmap_, builds["inserted"], "--old", kept)["dropped"] == 0
    assert relocated(hitmap_, builds["inserted"], "--old", kept / "twice.so")["dropped"] == 0
    check_refusal(
        hitmap_("merge", "-o", "x.hitmap", "old.hitmap", "--relocate", builds["inserted"], "--old", builds["changed"]),
        ("twice.so", "--old", str(builds["changed"])),
    )
    for wrong in ("old.hitmap", "missing.so", sys.executable):
        check_refusal(hitmap_("merge", "-o", "x.hitmap", "old.hitmap", "--relocate", wrong), (str(wrong),))
    assert hitmap_("merge", "-o", "x.hitmap", "old.hitmap", "--old", kept).code == 4


def test_memory_does_not_grow_with_the_number_of_maps(hitmap_, tmp_path):
    edges = 1_000_000
    (tmp_path / "big.s").write_text(f'.section __sancov_guards,"aw",@nobits\n.zero {4 * edges}\n')
    command = [toolchain.find(), "-shared", "-nostdlib", "-Wl,--build-id", "big.s", "-o", "big.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    maps.snapshot(bytes([0, 1] * (edges // 16)) + b"\0", [tmp_path / "big.so"]).save(tmp_path / "0.hitmap")
    for number in range(1, 200):
        (tmp_path / f"{number}.hitmap").write_bytes((tmp_path / "0.hitmap").read_bytes())

    def peak(count: int) -> int:
        files = [f"{number}.hitmap" for number in range(count)]
        running = subprocess.Popen(
            [HITMAP, "merge", "-o", "all.hitmap", *files], cwd=tmp_path, env=hitmap_.environment, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        assert running.returncode == 0
        return usage.ru_maxrss

    # Each has half a megabyte of hits in memory.
    assert peak(200) < peak(2) + 10_000
