"""A library is its identity and where it is imported from, never its file's last name alone."""

import json
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

from campaign import Hitmap
from puzzles.build import WRAPPER, compiled
from test_bad_input import check_refusal

# A module whose one argument sets which of eight branches run. BUILD makes another build, NAME another module.
SOURCE = """\
#include <Python.h>
static volatile int sink;
static PyObject *bits(PyObject *self, PyObject *data) {
  const char *text = PyBytes_AsString(data);
  const unsigned bits = text && text[0] == 'Q' ? (unsigned char)text[1] : 0;
  for (int i = 0; i < 8; i++)
    switch (bits & 1u << i) {
      case 1: sink += BUILD; break;
      case 2: sink += 2; break;
      case 4: sink += 3; break;
      case 8: sink += 4; break;
    }
  Py_RETURN_NONE;
}
static PyMethodDef methods[] = {{"bits", bits, METH_O, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_core", NULL, -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit__core(void) { return PyModule_Create(&module); }
"""
HARNESS = """\
import hitmap
import pa._core

@hitmap.harness
def run(data):
    pa._core.bits(data)
    if len(data) > 2 and data[1] == data[2]:
        import pb._core
        pb._core.bits(data)
"""


def core(place: Path, build: int, *flags: str) -> Path:
    """A build of the module at a place."""
    place.parent.mkdir(parents=True, exist_ok=True)
    source = place.with_suffix(".cpp")
    source.write_text(SOURCE.replace("BUILD", str(build)))
    compiled(source, place, *flags)
    return place


def packages(top: Path, names: list[str], marked: bool = True) -> None:
    """One module of the same file name in each package, each a library of its own."""
    for number, name in enumerate(names):
        core(top / name / "_core.so", 10 + number)
        for package in [top / name, *(top / name).parents] if marked else []:
            if package == top:
                break
            (package / "__init__.py").touch()


def python(hitmap_: Hitmap, program: str, *arguments) -> str:
    environment = {**hitmap_.environment, "PYTHONPATH": str(hitmap_.cwd)}
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    run = subprocess.run(command, env=environment, cwd=hitmap_.cwd, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


SAVES = """
    import importlib, sys, hitmap
    for name in sys.argv[2:]:
        importlib.import_module(name).bits(b"Q\\x01")
    hitmap.coverage().snapshot().save(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("names", "marked"),
    [(["pa", "pb"], True), (["pa", "pb"], False), (["x/native", "y/native"], True), (["pa", "pa/inner", "pb"], True)],
    ids=["packages", "without-init", "same-folder-name", "nested"],
)
def test_libraries_of_one_name_combine(hitmap_, tmp_path, names, marked):
    packages(tmp_path, names, marked)
    modules = [f"{name.replace('/', '.')}._core" for name in names]
    program = """
        import importlib, sys, hitmap
        runs = [hitmap.isolated(lambda: importlib.import_module(name).bits(b"Q\\x01")) for name in sys.argv[1:]]
        history = hitmap.History()
        news = [history.update(run).hits for run in runs]
        all = runs[0].coverage
        for run in runs[1:]:
            assert (all - run.coverage).hits == all.hits and (all & run.coverage).hits == 0
            all |= run.coverage
        assert all == history.snapshot() and all.hits == sum(news) and min(news) > 0 and len(all.modules) == len(runs)
        assert len(hitmap.venn(all, by="module")) == len(runs)
        assert hitmap.Snapshot.from_bytes(all.to_bytes()) == all
        for number, run in enumerate(runs):
            run.coverage.save(f"{number}.hitmap")
        print(all.hits, repr(all))
    """
    hits, shown = python(hitmap_, program, *modules).split(maxsplit=1)
    assert all(f" {name}/_core.so " in shown for name in names), shown
    # Merging needs no library, nor the machine that had it.
    for name in names:
        shutil.rmtree(tmp_path / name.split("/")[0], ignore_errors=True)
    files = [f"{number}.hitmap" for number in range(len(names))]
    merged = hitmap_("merge", "-o", "all.hitmap", *files, "--json")
    assert merged.code == 0, merged.said
    assert (json.loads(merged.out)["hits"], json.loads(merged.out)["modules"]) == (int(hits), len(names))
    compared = hitmap_("diff", *files)
    assert compared.code == 0 and "correspond" not in compared.said
    text = hitmap_("show", "all.hitmap").out
    assert all(f" {name}/_core.so " in text for name in names), text


def test_another_build_is_refused_beside_what_both_share(hitmap_, tmp_path):
    packages(tmp_path, ["pa", "pb"])
    python(hitmap_, SAVES, "one.hitmap", "pa._core", "pb._core")
    core(tmp_path / "pb" / "_core.so", 99)
    python(hitmap_, SAVES, "other.hitmap", "pa._core", "pb._core")
    check_refusal(hitmap_("merge", "-o", "x.hitmap", "one.hitmap", "other.hitmap"), ("pb/_core.so", "--force"))
    assert len(json.loads(hitmap_("diff", "one.hitmap", "other.hitmap", "--json").out)["conflicts"]) == 1
    python(
        hitmap_,
        """
        import hitmap
        one, other = hitmap.Snapshot.load("one.hitmap"), hitmap.Snapshot.load("other.hitmap")
        for refused in (lambda: one | other, lambda: one - other, lambda: hitmap.History(one).update(other)):
            try:
                refused()
            except ValueError as error:
                assert "pb/_core.so is build" in str(error), error
            else:
                raise AssertionError
        """,
    )


@pytest.mark.parametrize("flags", [(), ("--hitmap-variant=guard",)], ids=["inline", "guards"])
def test_copies_of_one_library_are_credited_apart_and_saved_as_one(hitmap_, tmp_path, flags):
    core(tmp_path / "one" / "_core.so", 1, *flags)
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one" / "_core.so", tmp_path / "two" / "_core.so")
    program = """
        import importlib.util, hitmap, numpy
        def load(folder):
            spec = importlib.util.spec_from_file_location("_core", f"{folder}/_core.so")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
        a, b = load("one"), load("two")
        cov = hitmap.coverage()
        hits = lambda: [module.hits for module in cov.modules]
        cov.reset()
        a.bits(b"Q\\x01")
        (ran, idle), first = hits(), cov.snapshot()
        assert ran > 0 and idle == 0 and (first.hits, len(first.modules)) == (ran, 1)
        cov.reset()
        b.bits(b"Q\\x02")
        (idle, ran), second = hits(), cov.snapshot()
        assert ran > 0 and idle == 0 and second.hits == ran and second.modules[0].path.endswith("two/_core.so")
        edge = int(numpy.flatnonzero(numpy.asarray(cov))[0])
        assert cov.where(edge).path.endswith("two/_core.so")
        a.bits(b"Q\\x01")
        assert cov.snapshot() == first | second and cov.hits > cov.snapshot().hits
        cov.restore(second)
        assert hits() == [0, ran] and cov.snapshot() == second
        run = hitmap.isolated(lambda: b.bits(b"Q\\x02"))
        assert run.coverage == second and run.coverage.modules[0].path.endswith("two/_core.so")
        assert hitmap.isolated(lambda: (a.bits(b"Q\\x01"), b.bits(b"Q\\x02"))).coverage == first | second
    """
    python(hitmap_, program)


@pytest.mark.parametrize("marked", [True, False], ids=["packages", "without-init"])
def test_a_campaign_takes_a_library_of_the_same_name_and_no_other_build_of_it(hitmap_, tmp_path, out, seeds, marked):
    packages(tmp_path, ["pa", "pb"], marked)
    harness = tmp_path / "harness.py"
    harness.write_text(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{HARNESS}")
    fuzz = ("fuzz", harness, "-i", seeds(b"Q\0\0"), "-o", out.folder, "--seed", 1, "--max-execs")
    ended = hitmap_(*fuzz, 5000)
    assert ended.code == 0, ended.said
    modules = json.loads(hitmap_("show", out.folder, "--json").out)["modules"]
    assert len(modules) == 2 and all(module["hits"] for module in modules)

    late = tmp_path / "pb" / "_core.so"
    kept = late.read_bytes()
    core(late, 99)
    for engines in (1, 2):
        ended = hitmap_(*fuzz, 10_000, "-j", engines)
        assert ended.code == 4 and "another build of" in ended.err and str(late) in ended.err, ended.said
    assert [(m["identity"], m["hits"]) for m in json.loads(hitmap_("show", out.folder, "--json").out)["modules"]] == [
        (m["identity"], m["hits"]) for m in modules
    ]
    assert len(json.loads((out.folder / "campaign.json").read_text())["modules"]) == 2
    late.unlink()
    late.write_bytes(kept)
    ended = hitmap_(*fuzz, 20_000)
    assert ended.code == 0, ended.said
    assert {m["identity"] for m in json.loads(hitmap_("show", out.folder, "--json").out)["modules"]} == {
        m["identity"] for m in modules
    }


# Static functions of one name, in files of one name.
UTIL = """\
extern volatile int sink;
static __attribute__((noinline)) void init(int n) {
  if (n > 1) sink = 1;
  if (n > 2) sink = 2;
}
extern "C" void run_NAME(int n) { init(n); }
"""
MAIN = """\
#include <Python.h>
volatile int sink;
extern "C" void run_a(int);
extern "C" void run_b(int);
static PyObject *bits(PyObject *self, PyObject *data) {
  if (PyBytes_Size(data) > 1) run_b(3); else run_a(3);
  Py_RETURN_NONE;
}
static PyMethodDef methods[] = {{"bits", bits, METH_O, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_core", NULL, -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit__core(void) { return PyModule_Create(&module); }
"""


# Which function the file in each folder has.
RUNS = {"a": "run_a", "b": "run_b", "c": "run_a"}


@pytest.mark.parametrize(
    ("folders", "carries"), [("ab", True), ("ba", True), ("cb", False)], ids=["same", "other-order", "folder-renamed"]
)
def test_no_hit_is_claimed_for_a_function_of_the_same_name(hitmap_, tmp_path, folders, carries):
    (tmp_path / "main.cpp").write_text(MAIN)
    for folder, function in RUNS.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "util.cpp").write_text(UTIL.replace("run_NAME", function))

    def build(name: str, folders: str) -> Path:
        library = tmp_path / name / "_core.so"
        library.parent.mkdir()
        sources = ["main.cpp", *(f"{folder}/util.cpp" for folder in folders)]
        include = f"-I{sysconfig.get_paths()['include']}"
        command = [WRAPPER, "-O1", "-g", "-shared", "-fPIC", include, *sources, "-o", library]
        subprocess.run(command, cwd=tmp_path, check=True)
        program = """
            import sys
            sys.path.insert(0, sys.argv[1])
            import hitmap, _core
            _core.bits(b"a")
            hitmap.coverage().snapshot().save(f"{sys.argv[1]}.hitmap")
        """
        python(hitmap_, program, name)
        return library

    build("old", "ab")
    library = build("new", folders)
    ended = hitmap_("merge", "-o", "moved.hitmap", "old.hitmap", "--relocate", library)
    assert ended.code == 0, ended.said
    total = json.loads(hitmap_("diff", "moved.hitmap", "new.hitmap", "--json").out)["total"]
    assert total["only_a"] == 0, "no hit is claimed that never was"
    assert (total["only_b"] == 0) == carries
    assert ("several functions of that name" in ended.out) == (not carries), ended.out
