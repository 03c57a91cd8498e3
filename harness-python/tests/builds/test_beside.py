"""Builds that are kept beside the ordinary ones."""

import os
import subprocess
import zipfile

import pytest
from test_package import BACKEND, C_SOURCE, PYPROJECT, tree, with_backend

from hitmap.build import beside, elf, installer, package, toolchain, variants


def library(path):
    with open(path, "rb") as file:
        return elf.read(file.read())


def kept(environment, name):
    folder = os.path.join(environment.beside, name)
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def test_a_comparison_build_is_made_in_the_same_command(tmp_path, environment):
    code, output, messages = environment.build(with_backend(tmp_path / "project", "hm_both"), comparisons=True)
    assert code == 0, messages
    ordinary = output.split()[-1]
    assert ordinary.startswith(environment.site)
    folder = os.path.join(environment.beside, "comparisons")
    assert folder in messages
    code = f"import sys; sys.path.insert(0, {folder!r}); import hm_both; print(hm_both.odd(3), hm_both.__file__)"
    answer, other = environment.ask(code).split()
    assert (answer, os.path.dirname(other)) == ("True", folder)
    assert library(other).instrumented and library(other).build_id != library(ordinary).build_id
    with open(other, "rb") as file:
        assert b"__sanitizer_cov_trace_cmp" in file.read()
    _, listed, _ = environment.build("--list", comparisons=True)
    assert f"comparisons  hm_both 1   {folder}\n" in listed


def test_a_worker_looks_where_the_build_keeps_them():
    from hitmap import _variants

    kinds = ("comparisons", "asan", "ubsan")
    assert set(_variants.BUILT_BY) == {variant.beside for variant in map(variants.named, kinds)}
    assert beside.folder("comparisons") == os.path.join(os.path.dirname(beside.folder("asan")), _variants.COMPARISONS)


def test_a_comparison_build_that_fails_leaves_the_ordinary_one(tmp_path, environment):
    project = with_backend(tmp_path / "project", "hm_half")
    assert environment.build(project, comparisons=True)[0] == 0
    assert any(name.startswith("hm_half") for name in kept(environment, "comparisons"))
    fails = '"false" if "variant=comparisons" in open(os.environ["CC"]).read() else os.environ["CC"]'
    code, output, messages = environment.build(with_backend(tmp_path / "again", "hm_half", compiler=fails), comparisons=True)
    assert code == 0 and "no comparison build: " in messages and "--no-comparisons" in messages
    assert environment.ask("import hm_half; print(hm_half.odd(3))") == "True"
    # The older one does not fit what is installed now.
    assert "removed the older comparisons build" in messages
    assert not any(name.startswith("hm_half") for name in kept(environment, "comparisons"))


def test_a_newer_version_takes_the_place_of_the_older_one(tmp_path, environment):
    for version in ("1", "2"):
        project = tree(tmp_path / version, "hm_newer", source=C_SOURCE, pyproject=PYPROJECT.replace('"1"', f'"{version}"'),
                       backend=BACKEND.replace("COMPILER", 'os.environ["CC"]').replace("-1", f"-{version}")
                       .replace("Version: 1\\n", f"Version: {version}\\n").replace("Version: 1\\\\n", f"Version: {version}\\\\n"))
        assert environment.build("--cmp", project)[0] == 0
    assert [name for name in kept(environment, "comparisons") if name.startswith("hm_newer-")] == ["hm_newer-2.dist-info"]


def test_a_build_with_a_sanitizer_brings_the_ordinary_one_and_says_what_to_preload(tmp_path, environment):
    code, output, messages = environment.build("--asan", with_backend(tmp_path / "project", "hm_asan"))
    assert code == 0, messages
    folder = os.path.join(environment.beside, "asan")
    assert os.path.dirname(output.split()[-1]) == folder
    assert environment.ask("import hm_asan; print(hm_asan.odd(2))") == "False"
    with open(os.path.join(folder, "preload"), encoding="utf-8") as file:
        [preload] = file.read().splitlines()
    code = f"import sys; sys.path.insert(0, {folder!r}); import hm_asan; print(hm_asan.odd(3), hm_asan.__file__)"
    done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0"})
    assert done.stdout.split() == ["True", output.split()[-1]], done.stderr
    # A second one finds the ordinary build of this version, and leaves it.
    _, _, messages = environment.build("--asan", tmp_path / "project")
    assert "making one" not in messages


def test_a_build_with_thin_lto_counts_without_calls(tmp_path, environment):
    code, output, messages = environment.build("--lto", with_backend(tmp_path / "project", "hm_lto"))
    assert code == 0, messages
    path = output.split()[-1]
    assert set(library(path).coverage) == {"__sancov_guards", "__sancov_pcs"}
    listing = subprocess.run(["objdump", "-d", path], capture_output=True, text=True).stdout
    assert "<hitmap_first_touch>" in listing
    assert not [line for line in listing.splitlines() if "call" in line and "<__sanitizer_cov_trace_pc_guard>" in line]
    assert environment.ask("import hm_lto; print(hm_lto.odd(2))") == "False"


@pytest.mark.parametrize("works, edges, names", [
    (("counters",), 250_000, ["counters"]),
    (("counters", "lto"), 250_001, ["counters", "lto"]),
    (("counters", "guard"), 250_001, ["counters", "lto", "guard"]),
    (("counters",), 250_001, ["counters", "lto", "guard"]),
])
def test_many_edges_get_a_journal_where_that_can_be_built(monkeypatch, works, edges, names):
    tried = []

    class Said:
        def step(self, text): pass
        def say(self, text): pass

    class Result:
        def __init__(self, name): self.edges, self.files, self.name = edges, 9, name

    def attempt(request, variant, *_, **__):
        tried.append(variant.name)
        if variant.name not in works:
            raise installer.BuildFailed("it does not link")
        return Result(variant.name)

    monkeypatch.setattr(package, "attempt", attempt)
    got = package.best(package.Request("x"), "", "", Said())
    assert tried == names and got.name == (names[-1] if names[-1] in works else "counters")


def test_nothing_of_a_wheel_lands_outside(tmp_path, monkeypatch):
    monkeypatch.setattr(beside.sys, "prefix", str(tmp_path / "prefix"))
    wheel = str(tmp_path / "x-1-py3-none-any.whl")
    members = {"x/a.py": "a", "x-1.data/platlib/x/b.so": "b", "x-1.data/scripts/run": "r", "../out": "o", "/etc/out": "o",
               "x-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: x\nVersion: 1\n",
               "x-1.dist-info/RECORD": "x/a.py,,\nx-1.data/platlib/x/b.so,,\n../out,,\nx-1.dist-info/RECORD,,\n"}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    top = beside.keep(wheel, "asan", "x", ["/lib/a.so"])
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    inside = "prefix/.hitmap/asan/"
    assert found == [inside + name for name in ("preload", "x-1.dist-info/METADATA", "x-1.dist-info/RECORD", "x/a.py", "x/b.so")] \
        + ["x-1-py3-none-any.whl"]
    assert (beside.kept(), beside.version("asan", "X")) == (["asan"], "1")
    (tmp_path / "out").write_text("o")
    beside.drop("asan", "x")
    assert os.listdir(top) == ["preload"] and (tmp_path / "out").exists() and beside.kept() == []
