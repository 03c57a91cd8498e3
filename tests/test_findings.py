"""What is a finding, and that one is kept: whatever a fresh process shows, whoever kills what, whatever is damaged.

The harnesses are written here, on a puzzle that only covers; what they do depends on files, so that a fresh child does
not do what the first one did.
"""

import textwrap

import pytest

DOTS = b"........"
KILLED = "killed from outside"


@pytest.fixture
def harness(built, tmp_path):
    """A harness file whose body sees `data`, and `flag`, a file that is there from the first call of `flag.touch()`."""
    built.harness("coverage_only")

    def write(body: str):
        path = tmp_path / "harness.py"
        path.write_text(f"""\
import os, pathlib, signal, subprocess, sys, time
import hitmap
import coverage_only

flag = pathlib.Path({str(tmp_path / "flag")!r})
runs = 0

@hitmap.harness
def run(data):
    global runs
    runs += 1
    coverage_only.run(data)
    if data[:1] == b"x":
{textwrap.indent(body, " " * 8)}
""")
        return path

    return write


@pytest.fixture
def fuzz(harness, hitmap_, seeds, out):
    """Runs a campaign on a harness with this body, from a seed that reaches it."""
    folder = seeds(DOTS, b"x" * 8)

    def run(body: str, *flags, execs: int = 2_000):
        return hitmap_(
            "fuzz", harness(body), "-i", folder, "-o", out.folder, "--max-execs", execs, "--seed", 1, "-j", 1, *flags
        )  # fmt: skip

    return run


def told(out) -> list[tuple[str, str, bool]]:
    """Kind, what it was, and whether it came back."""
    return sorted((f.kind, f.report["title"], f.report["reproduces"]) for f in out.findings)


# Two events are two findings.


def test_a_crash_that_hides_behind_an_exception_is_told_as_well(fuzz, out):
    fuzz("if runs > 30: os.abort()\nraise ValueError('not expected')")
    assert sorted((f.kind, f.report["reproduces"]) for f in out.findings) == [("exception", True), ("signal", False)]


def test_an_input_that_does_the_same_twice_is_one_finding(fuzz, out):
    fuzz("os.abort()")
    assert sorted((f.kind, f.report["reproduces"]) for f in out.findings) == [("signal", True)]


def test_a_crash_that_does_not_come_back_has_its_stack(fuzz, out):
    fuzz("if not flag.exists():\n    flag.touch()\n    os.abort()")
    [finding] = out.findings
    assert (finding.kind, finding.report["reproduces"]) == ("signal", False)
    assert "abort" in finding.functions, finding.functions
    assert "harness.py" in str(finding.report["python_frames"])


# Killed by somebody else.


def test_a_child_that_somebody_kills_is_no_finding(fuzz, out):
    ended = fuzz("if not flag.exists():\n    flag.touch()\n    os.kill(os.getpid(), signal.SIGKILL)")
    assert (ended.code, out.kinds) == (0, ()), ended.said
    assert ended.said.count(KILLED) == 1


def test_a_child_that_somebody_kills_while_it_confirms_is_run_again(fuzz, out):
    """It was seen to abort; when it ran again it was killed; then it aborts."""
    fuzz("""\
if flag.exists() and flag.read_text() == "1":
    flag.write_text("2")
    os.kill(os.getpid(), signal.SIGKILL)
flag.write_text(flag.read_text() + "1" if flag.exists() else "1")
os.abort()""")
    assert sorted((f.kind, f.report["signal"], f.report["reproduces"]) for f in out.findings) == [("signal", 6, True)]


def test_an_input_that_is_killed_each_time_is_a_finding(fuzz, out):
    ended = fuzz("os.kill(os.getpid(), signal.SIGKILL)")
    assert told(out) == [("signal", "SIGKILL", True)]
    assert KILLED not in ended.said


def test_a_server_that_somebody_kills_is_no_finding(fuzz, out):
    ended = fuzz("if not flag.exists():\n    flag.touch()\n    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(9)")
    assert (ended.code, out.kinds) == (0, ()), ended.said
