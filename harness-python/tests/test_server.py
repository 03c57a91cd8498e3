"""The server: the control protocol from the import to the end of the engine."""

import os
import signal
import subprocess
import sys

import pytest

from engine import FAILED, FORK, FORKED, Died, Engine, is_alive


def test_a_child_runs_and_the_next_one_too(worker):
    engine = worker("pass")
    first = engine.pid
    assert [v.outcome for v in engine.run(b"a", b"b")] == [1, 1]
    status = engine.end(signal.SIGKILL)
    assert os.WTERMSIG(status) == signal.SIGKILL
    engine.fork()
    assert engine.pid != first
    assert engine.run(b"c")[0].outcome == 1


def test_the_import_happens_once(worker):
    engine = worker("""
        import hitmap
        print("imported", file=__import__("sys").stderr)

        @hitmap.harness
        def run(data): pass
    """)
    engine.end()
    engine.fork()
    engine.run(b"")
    assert engine.log().count("imported") == 1


def test_a_kill_that_crosses_the_end_is_no_error(worker):
    engine = worker("os._exit(3)")
    with pytest.raises(Died) as died:
        engine.run(b"")
    assert died.value.code == 3
    engine.say(2, signal.SIGKILL)
    engine.fork()


def test_threads_that_will_not_survive_the_fork_are_counted(worker):
    engine = worker("""
        import threading, hitmap
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        threading.Thread(target=threading.Event().wait, daemon=True).start()

        @hitmap.harness
        def run(data): pass
    """)
    assert engine.threads == 2
    assert engine.run(b"x")[0].outcome == 1


def test_no_threads_of_our_own(worker):
    assert worker("pass").threads == 0


def test_when_the_engine_closes_its_socket_server_and_child_end(worker):
    engine = worker("pass")
    engine.control.close()
    assert engine.process.wait(30) == 0
    assert not is_alive(engine.pid)


def test_when_the_server_is_killed_its_child_dies(worker):
    engine = worker("pass")
    child = os.pidfd_open(engine.pid)
    engine.process.kill()
    engine.process.wait()
    import select

    assert select.select([child], [], [], 30)[0], "the child outlived its server"
    os.close(child)


def test_streams_lead_away_from_the_terminal(worker):
    engine = worker("""
        print("to nowhere", flush=True)
        os.system("echo shell says >&2")
        print(repr(sys.stdin.read()), file=sys.stderr, flush=True)
    """)
    engine.run(b"")
    assert engine.log() == "shell says\n''\n"
    engine.control.close()
    assert engine.process.communicate(timeout=30)[0] == b""


def test_the_log_stays_whole_when_the_engine_empties_it(worker):
    engine = worker("print('line', file=sys.stderr)")
    engine.run(b"")
    os.ftruncate(engine.fds["log"], 0)
    engine.run(b"")
    assert engine.log() == "line\n"


def test_grandchildren_inherit_nothing(worker):
    engine = worker("""
        import subprocess
        fds = subprocess.run(["ls", "/proc/self/fd"], stdout=subprocess.PIPE, close_fds=False).stdout.split()
        sys.exit(len(fds))
    """)
    # ls itself opens the folder beside its three streams.
    assert engine.run(b"")[0].value == 4


def test_interrupts_are_the_engines_to_judge(worker):
    engine = worker("pass")
    os.kill(engine.process.pid, signal.SIGINT)
    os.kill(engine.pid, signal.SIGINT)
    assert engine.run(b"")[0].outcome == 1


def test_a_server_that_cannot_fork_says_why(harness):
    path = harness("""
        import os, hitmap
        def refuse(): raise OSError(12, "no memory for a fork")
        os.fork = refuse

        @hitmap.harness
        def run(data): pass
    """)
    with Engine(path) as engine:
        engine.hear()
        engine.say(FORK)
        kind, code, _ = engine.hear()
        assert kind == FAILED != FORKED and code == 6
        assert "no memory for a fork" in engine.report()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--harness"),
        (["--harness", "x.py"], "--fds"),
        (["--harness", "x.py", "--fds", "1,2"], "seven"),
        (["--harness", "x.py", "--fds", "90,91,92,93,94,95,96"], "descriptor 90"),
        (["--harness", "x.py", "--fds", "0,1,2,0,1,2,0"], "twice"),
        (["--harness", "x.py", "--fds", "a,b,c,d,e,f,g"], "seven"),
        (["--harness", "x.py", "--fds", "3,4,5,6,7,8,9", "--memory-mb", "-1"], "--memory-mb"),
        (["--nonsense"], "--harness"),
    ],
)
def test_started_by_hand_it_says_what_to_start_instead(arguments, says):
    run = subprocess.run(
        [sys.executable, "-m", "hitmap.worker", *arguments],
        env={**os.environ, "HITMAP_MAP": "fd:90:0000000000000001"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 4
    assert says in run.stderr and "hitmap fuzz" in run.stderr
    assert run.stderr.count("\n") == 1


def test_descriptors_of_the_wrong_kind_are_refused():
    with open(os.devnull) as null:
        fds = [os.dup(null.fileno()) for _ in range(7)]
        run = subprocess.run(
            [sys.executable, "-m", "hitmap.worker", "--harness", "x.py", "--fds", ",".join(map(str, fds))],
            pass_fds=fds,
            env={**os.environ, "HITMAP_MAP": f"fd:{fds[0]}:0000000000000001"},
            capture_output=True,
            text=True,
        )
        for fd in fds:
            os.close(fd)
    assert run.returncode == 4
    assert "batch file" in run.stderr
