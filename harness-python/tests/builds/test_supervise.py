"""Whatever a build starts ends with it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hitmap.build.installer import SUPERVISE

# Each writes its number and stays.
STAY = "echo $$ >> {pids}; exec sleep 600"
STARTED = {
    "in the same group": "sh -c '{stay}' &",
    "in a group of its own": "{python} -c 'import os; os.setpgid(0, 0); os.execvp(\"sh\", [\"sh\", \"-c\", \"{stay}\"])' &",
    "in a session of its own": "setsid sh -c '{stay}' &",
    "whose parent is gone": "(setsid sh -c '{stay}' &) &",
    "that does not hear SIGTERM": "sh -c 'trap \"\" TERM; {stay}' &",
    "that is stopped": "sh -c 'echo $$ >> {pids}; kill -STOP $$; sleep 600' &",
}


def supervise(tmp_path, script):
    pids = tmp_path / "pids"
    pids.touch()
    stay = STAY.format(pids=pids)
    text = script.format(stay=stay, pids=pids, python=sys.executable)
    process = subprocess.Popen([sys.executable, "-I", "-S", SUPERVISE, "sh", "-c", text], stdin=subprocess.PIPE)
    return process, pids


def numbers(pids):
    return [int(word) for word in pids.read_text().split()]


def wait_until(true):
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until, "in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("how", STARTED)
@pytest.mark.parametrize("end", ["the command ends", "the asker closes the pipe", "a signal"])
def test_nothing_outlives_a_command(tmp_path, how, end):
    waits = "while [ ! -s {pids} ]; do sleep 0.02; done; exit 3" if end == "the command ends" else "sleep 600"
    process, pids = supervise(tmp_path, STARTED[how] + "\n" + waits)
    if end != "the command ends":
        wait_until(lambda: numbers(pids))
    if end == "the asker closes the pipe":
        process.stdin.close()
    elif end == "a signal":
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == (3 if end == "the command ends" else 128 + signal.SIGTERM)
    assert [pid for pid in numbers(pids) if os.path.exists(f"/proc/{pid}")] == []


@pytest.mark.parametrize("script, code", [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("exec /not/there", 127)])
def test_the_exit_code_is_the_commands(tmp_path, script, code):
    process, _ = supervise(tmp_path, script)
    assert process.wait(30) == code


def test_a_command_that_is_not_there_is_told(tmp_path):
    process = subprocess.Popen([sys.executable, "-I", "-S", SUPERVISE, "/not/there"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b"/not/there" in process.stderr.read() and process.wait(30) == 127
