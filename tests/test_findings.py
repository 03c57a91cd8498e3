"""What is a finding, and that one is kept: whatever a fresh process shows, whoever kills what, whatever is damaged.

The harnesses are written here, on a puzzle that only covers; what they do depends on files, so that a fresh child does
not do what the first one did.
"""

import json
import shutil
import signal
import textwrap

import pytest

from campaign import contents

DOTS = b"........"
KILLED = "killed from outside"


@pytest.fixture
def harness(built, tmp_path):
    """A harness file whose body sees `data`, and `flag`, a file that is there from the first call of `flag.touch()`."""
    built.harness("coverage_only")

    def write(body: str, before: str):
        path = tmp_path / "harness.py"
        path.write_text(f"""\
import os, pathlib, signal, subprocess, sys, time\nfrom time import sleep
import hitmap
import coverage_only

flag = pathlib.Path({str(tmp_path / "flag")!r})
runs = 0

{before}

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

    def run(body: str, *flags, seed_inputs=(DOTS, b"x" * 8), before: str = "", execs: int = 2_000):
        return hitmap_(
            "fuzz", harness(body, before), "-i", seeds(*seed_inputs), "-o", out.folder, "--max-execs", execs, "--seed", 1,
            *(flags if "-j" in flags else ("-j", 1, *flags)),
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
    ended = fuzz("if not flag.exists():\n    flag.touch()\n    os.kill(os.getppid(), signal.SIGKILL)\n    sleep(9)")
    assert (ended.code, out.kinds) == (0, ()), ended.said


# Hangs: named by what stays, paid for once.

SPINS = """\
def spin_a():
    while True:
        sum(range(9))

def spin_b():
    while True:
        sum(range(9))

def slow():
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        sum(range(9))
"""


def test_two_hangs_are_two_findings_and_known_ones_are_cut(fuzz, out):
    body = 'if data[1:2] < b"\\x10": spin_a()\nif data[1:2] > b"\\xf0": spin_b()'
    fuzz(body, "-t", 1000, seed_inputs=(b"x........", b"x\0", b"x\xff"), before=SPINS, execs=3_000)
    assert [f.kind for f in out.findings] == ["timeout", "timeout"]
    assert sorted(f.report["python_frames"][0]["function"] for f in out.findings) == ["spin_a", "spin_b"]
    assert all(f.report["reproduces"] for f in out.findings)
    assert out.count("runs_cut") >= 3
    assert out.count("runs_died") == out.count("runs_cut"), "the seeds ran alone, all others are known"
    assert float(out.stats()["time_known_bugs"].rstrip("%")) > 1


def test_a_slow_run_elsewhere_is_not_cut(fuzz, out):
    """It is looked at, as it takes longer than a sixteenth of the limit, and goes on."""
    body = 'if data[1:2] == b"\\0": spin_a()\nslow()'
    fuzz(body, "-t", 1000, seed_inputs=(b"x\0", b"x1", b"x2", b"x3"), before=SPINS, execs=12)
    assert [f.report["python_frames"][0]["function"] for f in out.findings] == ["spin_a"]


def test_a_hang_that_a_look_wakes_is_a_hang_all_the_same(fuzz, out):
    """C's sleep() ends early when a signal comes."""
    body = 'import ctypes\nif data[1:2] < b"\\x10": ctypes.CDLL(None).sleep(1000)'
    fuzz(body, "-t", 1000, seed_inputs=(b"x........", b"x\0"), execs=3_000)
    assert out.kinds == ("timeout",)
    assert out.findings[0].report["reproduces"]
    assert out.count("runs_cut") >= 2
    assert out.count("runs_died") == out.count("runs_cut")


@pytest.mark.parametrize("how", ["signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))", "sleep(0)"])
def test_a_hang_that_hears_no_signal_is_ended(how, fuzz, out):
    fuzz(f"{how}\nspin_a()", "-t", 300, before=SPINS, execs=30)
    assert out.kinds == ("timeout",)
    assert out.findings[0].report["reproduces"]


# What is kept stays kept.

CRASH = "os.abort()"


def emptied(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:50])


def zeroed(path):
    path.write_bytes(bytes(path.stat().st_size))


def gone(path):
    path.unlink()


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [emptied, cut, zeroed, gone, a_folder])
def test_a_damaged_report_hides_no_finding_and_is_written_anew(damage, fuzz, hitmap_, out):
    fuzz(CRASH)
    [finding] = out.findings
    before = finding.report
    damage(finding.folder / "report.json")
    # Nothing but the seeds is run, and they are known.
    ended = fuzz(CRASH, execs=1)
    assert ended.code == 1, ended.said
    assert f"{finding.folder}/report.json: " in ended.err, ended.err
    assert finding.folder.name in ended.out
    ours = ("signature", "title", "kind", "signal", "reproduces", "input", "frames")
    assert {key: finding.report[key] for key in ours} == {key: before[key] for key in ours}
    assert out.kinds == ("signal",)
    assert hitmap_("replay", finding.input).code == 1
    again = contents(out.folder / "findings")
    assert "report.json: " not in fuzz(CRASH, execs=1).err
    assert contents(out.folder / "findings") == again


def test_a_damaged_report_is_listed_when_its_input_is_gone_too(fuzz, out):
    fuzz(CRASH)
    [finding] = out.findings
    gone(finding.folder / "report.json")
    gone(finding.input)
    ended = fuzz(CRASH, execs=1)
    assert ended.code == 1, ended.said
    assert finding.folder.name in ended.out and "move the folder away" in ended.err, ended.said


def test_a_finding_that_was_never_copied_is_copied_once(fuzz, out):
    fuzz(CRASH)
    crashes = out.workers[0] / "crashes"
    [copy] = crashes.glob("id:*")
    data = copy.read_bytes()
    copy.unlink()
    for _ in range(2):
        fuzz(CRASH, execs=1)
        assert [path.read_bytes() for path in crashes.glob("id:*")] == [data]
    assert out.count("saved_crashes") == 1


@pytest.mark.parametrize("report", ["whole", "cut"])
def test_a_finding_that_was_just_written_when_its_engine_was_killed_is_kept(report, fuzz, out):
    fuzz(CRASH)
    [finding] = out.findings
    if report == "cut":
        cut(finding.folder / "report.json")
    # No process has this number: it is above the largest that Linux gives.
    finding.folder.rename(finding.folder.with_name(".making-4194305-x"))
    assert fuzz(CRASH, execs=1).code == 1
    assert [f.folder for f in out.findings] == [finding.folder]
    assert finding.report["title"]
    assert [path.name for path in (out.folder / "findings").iterdir()] == [finding.folder.name]


# Findings of an older version.


def aged(finding, signature: str, folder: str | None = None):
    """As a version before signatures had versions left it."""
    report = finding.report
    for field in ("signature_version", "tried_version", "code", "address", "sender"):
        report.pop(field, None)
    report["signature"] = signature
    (finding.folder / "report.json").write_text(json.dumps(report))
    if folder:
        finding.folder.rename(finding.folder.with_name(folder))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bug_that_an_older_version_named_is_not_found_again(workers, fuzz, out):
    fuzz(CRASH)
    [finding] = out.findings
    signature = finding.report["signature"]
    shutil.copytree(finding.folder, finding.folder.with_name("signal-00000000000000aa"))
    aged(finding, "00000000000000aa")
    aged(finding, "00000000000000bb", "signal-00000000000000bb")
    ended = fuzz(CRASH, "-j", workers)
    assert "an earlier version of hitmap named" in ended.err
    folders = ["signal-00000000000000aa", "signal-00000000000000bb"]
    assert [f.folder.name for f in out.findings] == folders, "both stay, and there is no third"
    assert {f.report["signature"] for f in out.findings} == {signature}
    said = fuzz(CRASH, execs=1).err
    assert "an earlier version" not in said


def test_a_bug_that_does_not_come_back_keeps_the_name_that_it_had(fuzz, out):
    fuzz("if not flag.exists():\n    flag.touch()\n    os.abort()")
    [finding] = out.findings
    aged(finding, "00000000000000aa")
    for said in (True, False):
        ended = fuzz("pass", execs=1)
        assert ("an earlier version" in ended.err) == said, ended.err
        assert finding.report["signature"] == "00000000000000aa"


def test_a_report_has_the_signal_s_code_and_the_address(fuzz, out):
    fuzz("import ctypes\nctypes.string_at(0x5000)")
    [finding] = out.findings
    assert (finding.report["signal"], finding.report["code"]) == (signal.SIGSEGV, 1)
    assert int(finding.report["address"], 16) >> 12 == 5
    assert finding.report["signature_version"] >= 2


# How a child ends is known, whatever the harness's file makes of the signal that says so.

SIGCHLD = {
    "ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "reaped by a handler": "signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))",
    "blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])",
}


@pytest.mark.parametrize("before", SIGCHLD.values(), ids=[name.replace(" ", "_") for name in SIGCHLD])
def test_what_a_harness_makes_of_sigchld_changes_no_finding(fuzz, out, before):
    ended = fuzz("os.abort() if data[1:2] == b'a' else os._exit(7)", before=before, seed_inputs=(DOTS, b"xa", b"xb"))
    assert ended.code == 1, ended.said
    found = sorted((f.kind, f.report["signal"], f.report["exit_code"]) for f in out.findings)
    assert found == [("exit", None, 7), ("signal", signal.SIGABRT, None)], ended.said


def test_the_target_finds_sigchld_as_it_left_it(fuzz, out):
    body = "assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN\n" \
           "subprocess.run(['true'])\n" \
           "pid = os.fork()\n" \
           "if not pid: os._exit(3)\n" \
           "try: os.waitpid(pid, 0)\n" \
           "except ChildProcessError: sys.exit(5)"  # fmt: skip
    fuzz(body, before=SIGCHLD["ignored"], execs=100)
    assert [(f.kind, f.report["exit_code"]) for f in out.findings] == [("exit", 5)]
