"""A bug keeps its name: over sessions, engines, replays, and builds of the same source elsewhere; and when it does not
come back."""

import json
import shutil
from pathlib import Path

import pytest

from campaign import Campaign, Hitmap
from identity import runs, table
from identity.targets import HERE, Built, Target

# Rows that every binding and way has, and that fall into each kind of name.
ROWS = ["null", "two lines", "assert", "check", "C library", "standard header", "stack overflow", "exit", "noexcept",
        "uncaught, one text", "translated, one text"]  # fmt: skip
TARGETS = [Target("capi", "lines"), Target("capi", "bare"), Target("ctypes", "stripped")]


def rows_of(target: Target) -> list[table.Row]:
    return [row for row in table.rows(target, "") if row.name in ROWS]


def names(campaign: Campaign) -> list[str]:
    return sorted(finding.folder.name for finding in campaign.findings)


def inputs(target: Target, meeting: int) -> list[bytes]:
    return [f"{entry} {table.MEETINGS[meeting]}".encode() for row in rows_of(target) for bug in row.bugs for entry in bug.entries]


def bugs(target: Target) -> int:
    return sum(len(row.bugs) for row in rows_of(target))


def fuzz(hitmap: Hitmap, harness: Path, inputs: list[bytes], out: Campaign, *flags) -> Campaign:
    """One session, on inputs that are new to the campaign."""
    seeds = out.folder.with_name(f"{out.folder.name}-seeds-{len(list(out.folder.parent.glob('*-seeds-*')))}")
    seeds.mkdir()
    for number, data in enumerate([runs.HARMLESS, *inputs]):
        (seeds / f"{number:04}").write_bytes(data)
    ended = hitmap("fuzz", harness, "-i", seeds, "-o", out.folder, "--seed", 1, "--no-auto-tokens", "-t", 5000, "-m", 64, *flags)
    assert ended.code == 1, ended.said
    return out


@pytest.fixture
def hitmap_(tmp_path) -> Hitmap:
    return Hitmap(tmp_path, {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})


@pytest.fixture(scope="session")
def built_elsewhere(tmp_path_factory) -> Built:
    """The same sources in another folder."""
    sources = tmp_path_factory.mktemp("elsewhere") / "a" / "rather" / "deep" / "folder" / "of the same sources"
    for part in ("library", "bindings", "third"):
        shutil.copytree(HERE / part, sources / part)
    return Built(sources.parent / "built", sources)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_sessions_and_engines_find_nothing_new_of_old_bugs(target, identity_built, hitmap_, tmp_path):
    harness = identity_built.harness(target)
    out = Campaign(tmp_path / "out")
    first = names(fuzz(hitmap_, harness, inputs(target, 0), out, "--max-execs", 400))
    assert len(first) == bugs(target)
    for meeting in (1, 2):
        fuzz(hitmap_, harness, inputs(target, meeting), out, "-j", 2, "--max-execs", 1200)
        assert names(out) == first
    both = fuzz(hitmap_, harness, inputs(target, 2), Campaign(tmp_path / "both"), "-j", 2, "--max-execs", 400)
    assert names(both) == first


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_replay_and_a_build_elsewhere_give_the_same_names(target, identity_built, built_elsewhere, hitmap_, tmp_path):
    """The loader puts the library elsewhere each time."""
    files = tmp_path / "inputs"
    files.mkdir()
    for number, data in enumerate(inputs(target, 0)):
        (files / f"{number:04}").write_bytes(data)
    said = [replayed(hitmap_, built.harness(target), files) for built in (identity_built, identity_built, built_elsewhere)]
    assert len({signature for signature, _ in said[0]}) == bugs(target), said[0]
    # Titles hold what this run said, signatures do not.
    for other in said[1:]:
        assert [signature for signature, _ in said[0]] == [signature for signature, _ in other], (said[0], other)


def replayed(hitmap: Hitmap, harness: Path, files: Path) -> list[tuple[str, str]]:
    ended = hitmap("replay", "--json", "--harness", harness, "-t", 5000, "-m", 64, files)
    reports = [json.loads(line)["report"] for line in ended.out.splitlines()]
    return [(report["signature"], report["title"]) if report else ("", "") for report in reports]


# ---- what does not come back ------------------------------------------------------------------------

ALWAYS = """\
import capi
import hitmap


@hitmap.harness
def run(data):
    for name in {names}:
        capi.run(name + b" 0 0 2 5")
"""
IN_PYTHON = """\
import os

import capi
import hitmap

calls = 0


def runs_out():
    os.abort()


@hitmap.harness
def run(data):
    global calls
    calls += 1
    capi.run(b"jumps_back 0 0 0 1")
    if calls == 40:
        runs_out()
"""
MASKED = """\
import capi
import hitmap


@hitmap.harness
def run(data):
    capi.run(b"state_count 0 0 0 0")
    if data[:1] == b"x":
        capi.run(b"state_masked 0 0 2 5")
    capi.run(data[:1] + b"_jumps 0 0 0 0")
"""


@pytest.mark.parametrize(
    ("harness", "kinds", "words"),
    [
        (ALWAYS.format(names=[b"state_abort"]), ["signal"], ["gives_out"]),
        (IN_PYTHON, ["signal"], ["runs_out"]),
        (
            ALWAYS.format(names=[b"state_key", b"state_reference", b"state_overflow"]),
            ["exception"] * 3,
            ["KeyError", "OverflowError", "ReferenceError"],
        ),
        (MASKED, ["signal"] * 2, ["shows_at_once", "shows_later"]),
    ],
    ids=["an abort", "an abort in Python", "three exceptions", "one hides the other"],
)
def test_what_a_fresh_process_does_not_show_has_its_name(harness, kinds, words, identity_built, hitmap_, tmp_path):
    """Three sessions of two engines: what names a bug is taken when it is first seen."""
    module = identity_built.harness(Target("capi", "lines")).parent
    file = tmp_path / "harness.py"
    file.write_text(harness)
    hitmap = Hitmap(tmp_path, {**hitmap_.environment, "PYTHONPATH": str(module)})
    out = Campaign(tmp_path / "out")
    for number in range(3):
        fuzz(hitmap, file, [b"x%d" % number, b"hello, world"], out, "-j", 2, "--max-execs", 2000 * (number + 1))
        titles = sorted(finding.report["title"] for finding in out.findings)
        assert list(out.kinds) == kinds, titles
        assert all(sum(word in title for title in titles) == 1 for word in words), titles
