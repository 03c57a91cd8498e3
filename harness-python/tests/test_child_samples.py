"""Looks at a run that takes too long: what the samples hold, and that the run goes on as if nothing had been."""

import os
import signal
import subprocess
import sysconfig
import time

import pytest

from engine import ANYWHERE, BETWEEN_BYTECODES, KILL, PATIENCE, PYTHON, Engine, names_of

SAMPLE = signal.SIGRTMAX - 2

SPIN = """
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
static volatile int go_on, sink;
__attribute__((noinline)) void inner(void) { sink++; }
__attribute__((noinline)) void spin(void) { write(2, "spinning;", 9); while (!sink || !go_on) inner(); sink = 0; }
__attribute__((noinline)) void spin_blocked(void) {
    sigset_t all; sigfillset(&all); sigprocmask(SIG_BLOCK, &all, 0);
    struct sigaction theirs = {0}; theirs.sa_handler = SIG_IGN;
    sigaction(SIGRTMAX - 2, &theirs, 0);
    spin();
}
static void *in_thread(void *_) { spin(); return 0; }
__attribute__((noinline)) void spin_thread(void) { pthread_t t; pthread_create(&t, 0, in_thread, 0); pthread_join(t, 0); }
"""


@pytest.fixture(scope="session")
def spinner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spin")
    (folder / "spin.c").write_text(SPIN)
    flags = ["-O1", "-g", "-shared", "-fPIC", "-pthread", f"-I{sysconfig.get_path('include')}"]
    subprocess.run(["gcc", *flags, str(folder / "spin.c"), "-o", str(folder / "libspin.so")], check=True)
    return folder / "libspin.so"


def on(library: str, function: str) -> str:
    return f"""
        import ctypes, hitmap
        library = ctypes.CDLL({str(library)!r})

        @hitmap.harness
        def run(data): library.{function}()
    """


def begin(engine: Engine, *inputs: bytes) -> None:
    """Wakes the child, and waits until the target says that it spins."""
    engine.clear_notes()
    engine.stage(list(inputs))
    engine.header(1, len(inputs))
    os.eventfd_write(engine.fds["wake"], 1)
    wait(lambda: "spinning;" in engine.log())


def wait(condition) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until


def look(engine: Engine, more: int = 1) -> None:
    before = len(engine.samples())
    engine.say(KILL, SAMPLE)
    wait(lambda: len(engine.samples()) >= before + more)


def python_of(engine: Engine, at: int) -> list[tuple[str, str]]:
    """Function and ID of each frame of a sample."""
    record = next(r for r in engine.records() if (r.kind, r.slot) == (PYTHON, at))
    return [tuple(line.split("\t")[3:]) for line in record.text.splitlines()]


@pytest.mark.parametrize("how", ["spin", "spin_blocked", "spin_thread"])
def test_native_code_is_seen_wherever_it_is(worker, spinner, how):
    engine = worker(on(spinner, how))
    begin(engine, b"x")
    for _ in range(3):
        look(engine)
    samples = engine.samples()
    assert [moment for moment, _ in samples] == [ANYWHERE] * 3
    for _, stack in samples:
        names = names_of(engine, stack.frames)
        assert stack.interrupted == 0
        assert (how in names) if how == "spin_thread" else ("spin" in names), names
        assert "_native" not in " ".join(names)
    engine.end()


def test_python_code_is_seen_by_its_calls(worker):
    engine = worker("""
        import os, hitmap

        def short(): pass

        def long():
            os.write(2, b"spinning;")
            while True:
                short()

        @hitmap.harness
        def run(data): long()
    """)
    begin(engine, b"x")
    for _ in range(3):
        look(engine, 2)
    moments = [moment for moment, _ in engine.samples()]
    assert moments.count(BETWEEN_BYTECODES) >= 2 and moments.count(ANYWHERE) == 3
    seen = [python_of(engine, at) for at, moment in enumerate(moments) if moment == BETWEEN_BYTECODES]
    assert all([name for name, _ in frames][-2:] == ["long", "run"] for frames in seen)
    assert len({frames[-1] for frames in seen}) == len({frames[-2] for frames in seen}) == 1
    assert len(engine.samples()[moments.index(BETWEEN_BYTECODES)][1].frames) > 2
    engine.end()


def test_calls_that_come_again_are_other_calls(worker):
    engine = worker("""
        import os, hitmap

        def step():
            for _ in range(1000): pass

        @hitmap.harness
        def run(data):
            os.write(2, b"spinning;")
            while True:
                step()
    """)
    begin(engine, b"x")
    for _ in range(6):
        look(engine, 2)
    moments = [moment for moment, _ in engine.samples()]
    seen = [dict(python_of(engine, at)) for at, moment in enumerate(moments) if moment == BETWEEN_BYTECODES]
    assert len({frames["run"] for frames in seen}) == 1
    steps = [frames["step"] for frames in seen if "step" in frames]
    assert len(set(steps)) > 1
    engine.end()


def test_a_run_that_was_looked_at_goes_on(worker):
    engine = worker("""
        import os, time, hitmap

        @hitmap.harness
        def run(data):
            if data == b"slow":
                os.write(2, b"spinning;")
                time.sleep(0.3)
                assert b"x".join([b"a", b"b"]) == b"axb"
    """)
    begin(engine, b"slow", b"quick")
    look(engine, 2)
    engine.wait()
    assert [engine.verdict(at).outcome for at in range(2)] == [1, 1]
    assert len(engine.samples()) == 2
    # The next run begins with none, and has none of the earlier one's.
    assert engine.run(b"quick")[0].outcome == 1
    assert engine.samples() == []


def test_what_the_target_forks_leaves_no_sample(worker):
    engine = worker("""
        import os, signal, time
        pid = os.fork()
        if pid == 0:
            os.write(2, b"spinning;")
            while True: pass
        time.sleep(0.1)
        os.kill(pid, signal.SIGRTMAX - 2)
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    """)
    assert engine.run(b"x")[0].outcome == 1
    assert engine.samples() == []


def test_the_notes_have_room_for_so_many(worker, spinner):
    engine = worker(on(spinner, "spin"))
    begin(engine, b"x")
    for _ in range(16):
        look(engine)
    engine.say(KILL, SAMPLE)
    engine.say(KILL, SAMPLE)
    assert len(engine.samples()) == 16
    assert os.WTERMSIG(engine.end(signal.SIGABRT)) == signal.SIGABRT
    assert "spin" in names_of(engine, engine.death().stack.frames)
