"""What is compared was optimised alike, and the libraries themselves say so."""

import os
import subprocess

import pytest

from peers import PEERS
from peers.builder import CLANG, RECORD, Unavailable, plain, recording
from peers.optimised import of_command, of_library, refuse_differences
from targets import TARGETS
from yardstick import Yardstick


@pytest.mark.parametrize("line, how", [
    ("clang -c a.c", "-O0"),
    ("clang -O3 -c a.c", "-O3"),
    ("clang -O3 -Wall -O1 -c a.c", "-O1"),
    ("clang -O -c a.c", "-O1"),
    ("clang -Os -g a.c", "-Os"),
    ("clang -fwrapv -O3 -Wall -DNDEBUG -fPIC a.c", "-O3 -fwrapv"),
    ("clang -O3 -march=native -funroll-loops a.c", "-O3 -funroll-loops -march=native"),
    ("clang -O2 -fsanitize-coverage=edge,trace-pc-guard a.c", "-O2"),
    ("clang -O2 '-DA=-O3 b' a.c", "-O2"),
    ("clang -O2 -c /somewhere/stub/hitmap_stub.c", None),
])
def test_a_command_line_says_how_it_optimises(line, how):
    assert of_command(line) == how


def compiled(folder, name, *options):
    (folder / "a.c").write_text("int f(int n) { return n > 3; }\n")
    subprocess.run([CLANG, *options, "-shared", "-fPIC", folder / "a.c", "-o", folder / name], check=True)
    return folder / name


def test_builds_that_differ_are_refused(tmp_path):
    fast, same = compiled(tmp_path, "fast.so", RECORD, "-O3"), compiled(tmp_path, "same.so", "-O1", RECORD, "-O3", "-g")
    slow, silent = compiled(tmp_path, "slow.so", RECORD), compiled(tmp_path, "silent.so", "-O3")
    assert [of_library(path) for path in (fast, same, slow, silent)] == [{"-O3"}, {"-O3"}, {"-O0"}, set()]
    refuse_differences("row", {"one": [fast], "two": [same, fast], "three": [fast]})
    for other, says in [([slow], "two: -O0"), ([silent], "two: does not say"), ([fast, slow], "two: -O0, -O3"), ([], "two: does not say")]:
        with pytest.raises(Unavailable, match=f"^row: .*one: -O3; {says}"):
            refuse_differences("row", {"one": [fast], "two": other})


def test_no_peer_takes_pythons_own_flags_away():
    """setuptools drops Python's CFLAGS, and with them -O3, for those of the environment."""
    for builder in [*(peer for peer in PEERS.values() if peer.name != "hitmap"), Yardstick()]:
        tools = builder.compilers(TARGETS["ujson"])
        assert not any("FLAGS" in name for name in tools) and RECORD in tools["CC"] and RECORD in tools["CXX"], builder.name


def test_a_shells_flags_do_not_reach_a_target(monkeypatch):
    monkeypatch.setenv("CFLAGS", "-O0")
    monkeypatch.setenv("HOME_OF_IT", "x")
    assert "CFLAGS" not in plain() and plain()["HOME_OF_IT"] == "x"


def test_a_compiler_that_is_asked_for_by_its_path_records(tmp_path):
    script = recording(tmp_path / "bin")
    assert os.path.basename(script).startswith("clang")
    (tmp_path / "a.c").write_text("int f;\n")
    subprocess.run([script, "-O2", "-shared", "-fPIC", tmp_path / "a.c", "-o", tmp_path / "a.so"], check=True)
    assert of_library(tmp_path / "a.so") == {"-O2"}
