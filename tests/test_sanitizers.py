"""Libraries built with a sanitizer, in Python: what it reports is a finding, and coverage counts beside it."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from hitmap.build import toolchain

from campaign import Hitmap
from puzzles import puzzle
from puzzles.build import HARNESS, compiled

SOURCE = """
#include "plain.h"

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'h') {
    volatile char *block = static_cast<volatile char *>(malloc(len));
    block[len + at(data, len, 1)] = 1;
    free(const_cast<char *>(block));
  }
  if (at(data, len, 0) == 'i') {
    volatile int most = 0x7fffff00;
    sink = most + static_cast<int>(len) * at(data, len, 1);
  }
}

PUZZLE(sanitized)
"""
ADDRESS = ("-fsanitize=address",)
# By itself this one prints, and goes on.
UNDEFINED = ("-fsanitize=undefined", "-fno-sanitize=vptr,function", "-fno-sanitize-recover=undefined")


def library(name: str) -> str:
    """A sanitizer's own library. It comes before Python's first malloc, so that it sees every one."""
    command = [toolchain.find(), f"-print-file-name=libclang_rt.{name}-{os.uname().machine}.so"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("flags", "runtime", "bad", "says"),
    [
        (ADDRESS, "asan", b"hh", "heap-buffer-overflow"),
        (UNDEFINED, "ubsan_standalone", b"i\xff", "signed integer overflow"),
        # The library brings the sanitizer along, and lies where --ubsan looks.
        ("--hitmap-ubsan", None, b"i\xff", "signed integer overflow"),
    ],
    ids=["asan", "ubsan", "ubsan alone"],
)
def test_what_a_sanitizer_reports_is_a_finding(built, seeds, out, tmp_path, flags, runtime, bad, says):
    folder, options = (tmp_path, []) if runtime else (tmp_path / ".hitmap" / "ubsan", ["--ubsan"])
    folder.mkdir(parents=True, exist_ok=True)
    source, module = tmp_path / "sanitized.cpp", folder / built.module("sanitized").name
    source.write_text(SOURCE)
    flags = [*flags, "-shared-libsan"] if runtime else [flags]
    compiled(source, module, *flags, f"-I{puzzle.FOLDER}")
    (tmp_path / "harness.py").write_text(HARNESS.format(name="sanitized"))
    environment = {
        **built.environment(),
        **({"LD_PRELOAD": library(runtime)} if runtime else {}),
        # The interpreter leaves much of its memory to the system when it ends.
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    hitmap_ = Hitmap(tmp_path, environment)
    inputs = seeds(b"h", b"i\0", bad, b"0")
    ended = hitmap_("fuzz", "harness.py", "-i", inputs, "-o", out.folder, "--seed", 1, "--max-execs", 60, *options)
    assert ended.code == 1, ended.said
    finding = next(out.folder.glob("findings/sanitizer-*/input"))
    replayed = hitmap_("replay", finding)
    assert replayed.code == 1 and says in replayed.out, replayed.said
    if options:
        # A copy far from the campaign knows which build to take.
        [file] = shutil.copytree(finding.parent, tmp_path / "elsewhere").glob("test_*.py")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, file]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert run.returncode == 1 and says in run.stdout, run.stdout + run.stderr
    reports = [json.loads(path.read_text()) for path in out.folder.glob("findings/*/report.json")]
    found = [report for report in reports if report["kind"] == "sanitizer"]
    assert found and found[0]["reproduces"], reports
    frame = next(each for each in found[0]["frames"] if each["instrumented"])
    assert frame["function"].startswith("run") and frame["file"].endswith("sanitized.cpp") and frame["line"], found
    assert [each["function"] for each in found[0]["python_frames"]][:1] == ["run"], found
    traceback = (out.folder / "findings" / f"sanitizer-{found[0]['signature']}" / "traceback.txt").read_text()
    assert says in traceback and "sanitized.cpp" in traceback, traceback
    shown = json.loads(hitmap_("show", out.folder, "--json", "--functions").out)
    (counted,) = shown["functions"]
    assert shown["hits"] > 1 and any(f["function"].startswith("plain_run(") for f in counted["functions"])
