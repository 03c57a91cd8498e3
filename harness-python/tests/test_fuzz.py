"""`hitmap.fuzz`: the command that it starts, and how it reads what is left. The command line is a stand-in here."""

import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import hitmap
from hitmap import _fuzz, errors


@hitmap.harness
def at_top_level(data):
    pass


@pytest.fixture
def started(monkeypatch):
    """Commands instead of processes; each ends with `code`."""
    commands = []

    def run(command):
        commands.append(command)
        return run.code

    run.code = 0
    run.commands = commands
    monkeypatch.setattr(_fuzz, "_run", run)
    return run


def test_arguments_become_options(started, tmp_path):
    (tmp_path / "seeds").mkdir()
    result = hitmap.fuzz(
        at_top_level, seeds=tmp_path / "seeds", out=tmp_path / "out", workers=2, max_time=60, max_execs=1000, seed=7,
        dictionary="d.dict", timeout_ms=250, memory_mb=512, arguments=["--isolation", "exec"],
    )  # fmt: skip
    assert started.commands == [
        [
            sys.executable, "-m", "hitmap", "fuzz", f"{__file__}:at_top_level", "-i", str(tmp_path / "seeds"),
            "-o", str(tmp_path / "out"), "-j", "2", "-x", "d.dict", "-t", "250", "-m", "512", "--max-time", "60",
            "--max-execs", "1000", "--seed", "7", "--isolation", "exec",
        ]
    ]  # fmt: skip
    assert (result.path, result.exit_code, result.findings) == (tmp_path / "out", 0, [])


def test_findings_are_read(started, tmp_path):
    folder = tmp_path / "out" / "findings" / "signal-00ff"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"kind": "signal", "signature": "00ff", "title": "SIGSEGV in f"}))
    (folder / "input").write_bytes(b"\0x")
    started.code = 1
    result = hitmap.fuzz(at_top_level, out=tmp_path / "out")
    (finding,) = result.findings
    assert (result.exit_code, finding.kind, finding.signature) == (1, "signal", "00ff")
    assert (finding.title, finding.input) == ("SIGSEGV in f", b"\0x")


@pytest.mark.parametrize("text", ["{", "", "[]", None])
def test_a_damaged_report_hides_no_finding(started, tmp_path, text):
    folder = tmp_path / "findings" / "exit-00ff"
    folder.mkdir(parents=True)
    (folder / "input").write_bytes(b"x")
    if text is not None:
        (folder / "report.json").write_text(text)
    started.code = 1
    (finding,) = hitmap.fuzz(at_top_level, out=tmp_path).findings
    assert (finding.kind, finding.signature, finding.report, finding.input) == ("exit", "00ff", {}, b"x")
    assert "report.json is damaged" in finding.title


@pytest.mark.parametrize(("code", "says"), [(3, "code 3"), (4, "code 4"), (-9, "signal 9")])
def test_a_campaign_that_breaks_raises(started, tmp_path, code, says):
    started.code = code
    with pytest.raises(errors.CampaignError, match=says):
        hitmap.fuzz(at_top_level, out=tmp_path)


def test_seeds_may_be_inputs(started, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        _fuzz,
        "_run",
        lambda command: (
            seen.extend(sorted(p.read_bytes() for p in Path(command[command.index("-i") + 1]).iterdir())) or 0
        ),
    )
    hitmap.fuzz(at_top_level, seeds=[b"a", b"b"], out=tmp_path)
    assert seen == [b"a", b"b"]


@pytest.mark.parametrize(
    ("seeds", "error"), [(b"x", TypeError), (["text"], TypeError), ("no/such/folder", FileNotFoundError)]
)
def test_wrong_seeds_are_told(started, tmp_path, seeds, error):
    with pytest.raises(error, match="seeds"):
        hitmap.fuzz(at_top_level, seeds=seeds, out=tmp_path)
    assert started.commands == []


def test_a_local_function_travels_by_cloudpickle(started, tmp_path):
    pytest.importorskip("cloudpickle")
    word = b"closed over"

    def local(data):
        return word

    hitmap.fuzz(hitmap.harness(expected=KeyError)(local), out=tmp_path / "out")
    path = Path(started.commands[0][4])
    assert path == tmp_path / "out.harness.pkl"
    back = pickle.loads(path.read_bytes())
    assert back(b"") == word and back.expected == (KeyError,)


def test_without_cloudpickle_it_is_told_how_to_get_it(started, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(errors.HarnessError, match="pip install cloudpickle"):
        hitmap.fuzz(lambda data: None, out=tmp_path)


def test_what_cannot_travel_is_told(started, tmp_path):
    pytest.importorskip("cloudpickle")
    lock = threading.Lock()
    with pytest.raises(errors.HarnessError, match="cannot travel"):
        hitmap.fuzz(lambda data: lock, out=tmp_path)


def test_a_harness_that_cannot_work_is_refused(started, tmp_path):
    with pytest.raises(errors.HarnessError, match="one argument"):
        hitmap.fuzz(lambda: None, out=tmp_path)


def test_a_script_without_a_main_part_is_told(harness):
    from engine import FAILED, Engine

    with Engine(harness("import hitmap\n@hitmap.harness\ndef run(data): pass\nhitmap.fuzz(run)\n")) as engine:
        assert engine.hear()[0] == FAILED
        assert 'if __name__ == "__main__":' in engine.report()


def test_a_program_that_uses_multiprocessing_is_none_of_a_worker(started, monkeypatch, tmp_path):
    import multiprocessing

    assert multiprocessing and sys.modules["__mp_main__"] is sys.modules["__main__"]
    assert hitmap.fuzz(at_top_level, out=tmp_path).exit_code == 0


def test_the_command_line_answers():
    run = subprocess.run([sys.executable, "-m", "hitmap", "--help"], capture_output=True, text=True)
    assert run.returncode == 0 and "fuzz" in run.stdout
