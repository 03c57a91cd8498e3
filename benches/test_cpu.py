"""Every process counts, however it ends."""

import os
import sys
import textwrap

import pytest

import cpu

BURN = """
import os, signal, sys, time
def burn(seconds):
    while time.process_time() < seconds: pass
"""


def measured(tmp_path, script, patience=60):
    command = [sys.executable, "-c", BURN + textwrap.dedent(script)]
    return cpu.measure(command, dict(os.environ), tmp_path, tmp_path / "log", patience)


@pytest.mark.parametrize(
    "script",
    [
        "burn(0.5)",
        "if os.fork() == 0: burn(0.5); os._exit(0)\nos.wait()",
        # A grandchild that its parent kills and reaps.
        """
        ready, done = os.pipe()
        if (pid := os.fork()) == 0:
            burn(0.5); os.write(done, b"x"); signal.pause()
        os.read(ready, 1); os.kill(pid, signal.SIGKILL); os.wait()
        """,
        # A grandchild in a session of its own whose parent is gone, and which never ends.
        """
        ready, done = os.pipe()
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid(); burn(0.5); os.write(done, b"x"); signal.pause()
            os._exit(0)
        os.read(ready, 1)
        """,
    ],
    ids=["itself", "child", "killed", "orphan"],
)
def test_all_of_a_tree_counts(tmp_path, script):
    usage = measured(tmp_path, script)
    assert usage.code == 0, (tmp_path / "log").read_text()
    assert 0.5 <= usage.cpu < 1.0
    assert cpu.children() == []


def test_a_command_that_does_not_end_is_ended(tmp_path):
    with pytest.raises(TimeoutError):
        measured(tmp_path, "signal.pause()", patience=0.5)
    assert cpu.children() == []


def test_a_command_is_asked_to_end_at_its_budget(tmp_path):
    script = "signal.signal(signal.SIGINT, lambda *_: os._exit(7))\nwhile True: pass"
    command = [sys.executable, "-c", BURN + script]
    usage = cpu.measure(command, dict(os.environ), tmp_path, tmp_path / "log", 60, lambda spent: spent >= 0.3)
    assert usage.code == 7
    assert usage.stopped is not None and 0.3 <= usage.stopped <= usage.cpu
