"""Files that are not what they should be: each kind of damage, done to each file that hitmap reads.

Whatever it is, hitmap ends in time, names the file, and loses nothing that was not in it.
"""

import os
import re
import resource
import shutil
from pathlib import Path

import pytest

from campaign import Campaign, Hitmap
from test_bad_input import check_refusal

TERABYTE = 1 << 40
# What hitmap and all that it starts may take, in bytes: no file of a terabyte fits, nor does /dev/zero.
ROOM = 1 << 34


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def turned(path: Path) -> None:
    """Other bytes, as many."""
    path.write_bytes(bytes(byte ^ 0x15 for byte in path.read_bytes()))


def gone(path: Path) -> None:
    path.unlink()


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def huge(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(TERABYTE)


def linked(path: Path) -> None:
    """To a file of somebody's, which must stay as it is."""
    path.unlink(missing_ok=True)
    path.symlink_to(next(above / "secret" for above in path.parents if (above / "secret").exists()))


NOT_A_FILE = [fifo, endless, folder, huge]
DAMAGES = [emptied, cut, turned, gone, *NOT_A_FILE, linked]

# Files of a campaign, as patterns; each stands for the first that matches.
FILES = [
    "campaign.json",
    "coverage.hitmap",
    "findings/*/report.json",
    "findings/*/input",
    "w0/coverage.hitmap",
    "w0/features.hitmap",
    "w0/fuzzer_stats",
    "w0/plot_data",
    "w0/seeds.done",
    "w0/queue/id:*",
    "w0/fuzzer_setup",
    "w0/cmdline",
    "w0/crashes/README.txt",
]
# What a session only writes, or writes anew from what it knows: no word is lost on it.
WRITTEN = ("input", "plot_data", "fuzzer_setup", "cmdline", "README.txt")


@pytest.fixture(scope="module")
def made(built, tmp_path_factory) -> Path:
    """A campaign with findings, in a folder that tests copy."""
    top = tmp_path_factory.mktemp("made")
    (top / "seeds").mkdir()
    for letter in "dt":
        (top / "seeds" / letter).write_text(letter)
    ended = Hitmap(top, built.environment())(
        "fuzz", built.harness("many_signals"), "-i", top / "seeds", "-o", top / "out", "-j", 1, "--max-execs", 2_000,
        "--seed", 1,
    )  # fmt: skip
    assert ended.code == 1, ended.said
    return top


@pytest.fixture
def bounded(hitmap_):
    """The command line; no process of it can take more memory than `ROOM`."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, before[1]))
    yield hitmap_
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("pattern", FILES)
def test_a_campaign_with_a_file_that_is_damaged(bounded, built, made, tmp_path, pattern, damage):
    out = Campaign(tmp_path / "out")
    shutil.copytree(made / "out", out.folder)
    (tmp_path / "secret").write_text("mine")
    path = sorted(out.folder.glob(pattern))[0]
    damage(path)
    execs = Campaign(made / "out").count("execs_done")
    queue = {name: data for name, data in Campaign(made / "out").queue().items() if name != path.name}
    ended = bounded(
        "fuzz", built.harness("many_signals"), "-i", made / "seeds", "-o", out.folder, "-j", 1,
        "--max-execs", 500, "--seed", 2,
    )  # fmt: skip
    if ended.code not in (0, 1):
        check_refusal(ended, (path.name,))
        assert not (damage is gone and path.name != "campaign.json"), ended.said
        return
    assert "died" not in ended.said, ended.said
    told = path.name in ended.err or path.parent.name in ended.err
    assert told or path.name in WRITTEN or is_harmless(path, damage), ended.said
    if "queue" not in pattern:
        assert out.count("execs_done") > execs, ended.said
    kept = [entry for entry in (out.folder / "w0/queue").glob("id:*") if entry.name in queue]
    assert {entry.name: entry.read_bytes() for entry in kept} == queue
    assert (tmp_path / "secret").read_text() == "mine"


def is_harmless(path: Path, damage) -> bool:
    """A file that is made anew, or that a killed session may not have made yet."""
    return damage is gone and path.name in ("coverage.hitmap", "seeds.done") or damage is cut and path.name == "seeds.done"


# What a user brings along.


@pytest.fixture
def harness(built, tmp_path):
    path = tmp_path / "fuzz_it.py"
    path.write_text(built.harness("many_signals").read_text())
    return path


@pytest.mark.parametrize("damage", NOT_A_FILE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("what", ["harness", "dictionary", "seed", "seeds", "input", "snapshot", "seed of a folder"])
def test_something_else_where_a_file_is_asked_for(bounded, harness, tmp_path, what, damage):
    bad = tmp_path / ("bad.py" if what == "harness" else "bad")
    bad.write_bytes(b"d")
    damage(bad)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "good").write_bytes(b"a")
    os.link(bad, tmp_path / "folder" / "linked", follow_symlinks=False) if damage is not folder else None
    fuzz = ("fuzz", harness, "-o", tmp_path / "out", "-j", 1, "--max-execs", 200)
    ended = bounded(
        *{
            "harness": ("fuzz", bad, "-o", tmp_path / "out", "--max-execs", 200),
            "dictionary": (*fuzz, "-x", bad),
            "seed": (*fuzz, "-i", bad),
            "seeds": (*fuzz, "-i", bad),
            "input": ("replay", bad, "--harness", harness),
            "snapshot": ("show", bad),
            "seed of a folder": (*fuzz, "-i", tmp_path / "folder"),
        }[what]
    )
    # A seed that is too long is cut, and that is said; what is no file in a folder is no seed of it.
    cut_short = what.startswith("seed") and damage is huge
    if what == "seed of a folder" or cut_short:
        assert ended.code in (0, 1), ended.said
        assert not cut_short or "cut there" in ended.err
        return
    check_refusal(ended, ("bad",))


# What is counted over sessions.


def test_totals_do_not_fall_with_fewer_engines(built, hitmap_, seeds, out):
    fuzz = ("fuzz", built.harness("coverage_only"), "-i", seeds(b"a"), "-o", out.folder)
    first = hitmap_(*fuzz, "-j", 2, "--max-execs", 4_000)
    assert first.code == 0, first.said
    both = sum(len(out.queue(worker)) for worker in (0, 1))
    second = hitmap_(*fuzz, "-j", 1, "--max-execs", 1_000)
    runs = [int(re.search(r"([\d,]+) runs in all", ended.out)[1].replace(",", "")) for ended in (first, second)]
    assert runs[1] >= runs[0] + 1_000, second.out
    corpus = int(re.search(r"([\d,]+) inputs? in the corpus|in the corpus", second.out)[1] or 0)
    assert corpus >= both, second.out


# What becomes of a session when its folder does.


def test_a_folder_that_is_deleted_under_a_campaign_is_named(built, hitmap_, seeds, out):
    from campaign import until

    fuzz = ("fuzz", built.harness("coverage_only"), "-i", seeds(b"a"), "-o", out.folder, "-j", 1)
    with hitmap_.start(*fuzz) as running:
        until(lambda: (out.folder / "w0/plot_data").exists(), "the first save")
        out.folder.rename(out.folder.with_name("elsewhere"))
        ended = running.end()
    check_refusal(ended, (str(out.folder), "moved or deleted"))


def test_a_full_disk_is_named_with_a_remedy(built, hitmap_, seeds, out):
    """A limit of file sizes is what a full disk looks like to a process."""
    harness, folder = built.harness("coverage_only"), seeds(b"a" * 5000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, before[1]))
    try:
        ended = hitmap_("fuzz", harness, "-i", folder, "-o", out.folder, "-j", 1, "--max-len", 5000,
                        "--max-execs", 1_000)  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "Unknown error" not in ended.said
    check_refusal(ended, ("ulimit -f",))
