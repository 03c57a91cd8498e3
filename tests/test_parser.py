"""hitmap fuzzes what reads saved maps: a Rust library with coverage, through ctypes.

`tests/parser` says what must hold. The sources are compiled by stable rustc with the instrumentation of `hitmap
build`, and linked by its wrapper, which is also how a user would fuzz Rust behind Python.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from puzzles.build import WRAPPER

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "observers" / "tests" / "golden"
HEAD, TAIL = 24, 8
EXECUTIONS = 200_000

HARNESS = """
import ctypes
import hitmap

check = ctypes.CDLL({library!r}).hitmap_parser_check
check.argtypes, check.restype = [ctypes.c_char_p, ctypes.c_size_t], None


@hitmap.harness
def maps(data):
    check(data, len(data))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    linker = WRAPPER.with_name("hitmap-clang")
    environment = {
        **os.environ,
        "RUSTC_WORKSPACE_WRAPPER": str(ROOT / "tests" / "parser" / "rustc-with-coverage"),
        "PATH": f"{WRAPPER.parent}:{os.environ['PATH']}",
    }
    built = subprocess.run(
        ["cargo", "rustc", "--locked", "-p", "hitmap-parser", "--crate-type", "cdylib", "--message-format", "json",
         "--", "-C", f"linker={linker}"],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    made = [json.loads(line) for line in built.stdout.splitlines()]
    [library] = [name for one in made if one.get("target", {}).get("name") == "hitmap_parser" for name in one["filenames"]]
    return Path(library)


@pytest.fixture
def harness(library, tmp_path) -> Path:
    path = tmp_path / "maps.py"
    path.write_text(HARNESS.format(library=str(library)))
    return path


def ways() -> list[bytes]:
    """The golden files, and what is in their frames, in each way that the library reads them."""
    whole, log = (GOLDEN / "v1.hitmap").read_bytes(), (GOLDEN / "v1-features.hitmap").read_bytes()
    seeds = [b"\0" + whole, b"\1" + whole[HEAD:-TAIL], b"\2" + log]
    frames, rest = [], log
    while rest:
        length = int.from_bytes(rest[8:16], "little")
        payload, kind = rest[HEAD : HEAD + length], rest[7]
        frames.append(bytes([{2: 0, 3: 1}[kind], length]) + payload)
        rest = rest[HEAD + length + TAIL :]
    return [*seeds, b"\3" + b"".join(frames)]


def test_hitmap_finds_nothing_in_its_own_parser(hitmap_, harness, seeds, out):
    ended = hitmap_(
        "fuzz", harness, "-i", seeds(*ways()), "-o", out.folder, "--max-execs", EXECUTIONS, "-j", 1, "--seed", 1
    )
    assert ended.code == 0, ended.said
    shown = json.loads(hitmap_("show", out.folder, "--json").out)
    [parser] = shown["modules"]
    assert parser["name"] == "libhitmap_parser.so"
    assert len(out.queue()) > len(ways()), "the mutants went further than the seeds"
    assert parser["hits"] > 500, parser
