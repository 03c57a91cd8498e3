"""What a fatal signal leaves: the note in the batch file, Python's stack in the log, the right wait status."""

import os
import signal

import pytest

from engine import Died


def crash(engine, data=b""):
    with pytest.raises(Died) as died:
        engine.run(data)
    return died.value


def names(engine, frames):
    """Which files the frames lie in."""
    objects = engine.objects()
    return [next((o.path for o in objects if o.start <= f < o.end), "?") for f in frames]


def test_abort_leaves_note_and_python_stack(worker):
    engine = worker("os.abort()")
    assert crash(engine).signal == signal.SIGABRT
    note = engine.death()
    assert note.signal == signal.SIGABRT
    assert len(note.stack.frames) > 2
    assert "libc" in names(engine, note.stack.frames)[0]
    assert "Fatal Python error: Aborted" in engine.log()
    assert 'target.py", line 8 in run' in engine.log()


def test_a_wild_read_leaves_its_address(worker):
    engine = worker("import ctypes, hitmap\n@hitmap.harness\ndef run(data): ctypes.string_at(0x10)\n")
    assert crash(engine).signal == signal.SIGSEGV
    note = engine.death()
    assert (note.signal, note.address) == (signal.SIGSEGV, 0x10)
    assert any("_ctypes" in name for name in names(engine, note.stack.frames))
    assert "Segmentation fault" in engine.log() and "in string_at" in engine.log()


def test_the_note_ends_where_the_target_ends(worker):
    engine = worker("os.abort()")
    crash(engine)
    assert not any("_native" in name for name in names(engine, engine.death().stack.frames))


def test_a_jump_to_nowhere_keeps_its_caller(worker):
    engine = worker("import ctypes, hitmap\n@hitmap.harness\ndef run(data): ctypes.CFUNCTYPE(None)(0x1234)()\n")
    assert crash(engine).signal == signal.SIGSEGV
    note = engine.death()
    assert note.stack.frames[0] == 0x1235
    assert len(note.stack.frames) > 5
    assert any("_ctypes" in name for name in names(engine, note.stack.frames))


def test_a_stack_overflow_is_caught(worker):
    engine = worker("""
        import ctypes, hitmap
        again = ctypes.CFUNCTYPE(None)
        qsort = ctypes.CDLL(None).qsort
        compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

        @hitmap.harness
        def run(data):
            sys_limit()
            array = (ctypes.c_int * 2)(2, 1)
            def deeper(a, b):
                qsort(array, 2, 4, callback)
                return 0
            callback = compare(deeper)
            qsort(array, 2, 4, callback)

        def sys_limit():
            import sys
            sys.setrecursionlimit(10**9)
    """)
    assert crash(engine).signal == signal.SIGSEGV
    note = engine.death()
    assert note.signal == signal.SIGSEGV
    assert len(note.stack.frames) == 128


@pytest.mark.parametrize("number", [signal.SIGFPE, signal.SIGILL, signal.SIGBUS, signal.SIGTRAP, signal.SIGSYS])
def test_every_fatal_signal_leaves_a_note(worker, number):
    engine = worker(f"os.kill(os.getpid(), {int(number)})")
    assert crash(engine).signal == number
    assert engine.death().signal == number


def test_a_kill_leaves_none(worker):
    engine = worker("os.kill(os.getpid(), 9)")
    assert crash(engine).signal == signal.SIGKILL
    assert engine.death() is None


def test_the_engines_abort_names_where_it_hangs(worker):
    """How a time-out is told: the engine asks for SIGABRT first."""
    engine = worker("import time\nos.write(2, b'here')\ntime.sleep(1000)")
    engine.stage([b"x"])
    engine.header(1, 1)
    os.eventfd_write(engine.fds["wake"], 1)
    while engine.log() != "here":
        assert engine.process.poll() is None
    status = engine.end(signal.SIGABRT)
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert engine.death().signal == signal.SIGABRT
    assert "in run" in engine.log()


def test_a_signal_that_the_target_survives_leaves_no_note(worker):
    """Some libraries use traps in their ordinary work."""
    engine = worker("""
        import ctypes, os, signal, sys, hitmap
        signal.signal(signal.SIGTRAP, lambda *_: None)

        @hitmap.harness
        def run(data):
            os.kill(os.getpid(), signal.SIGTRAP)
    """)
    assert engine.run(b"x")[0].outcome == 1
    assert engine.death() is None


def test_a_grandchilds_crash_is_its_own_affair(worker):
    engine = worker("""
        pid = os.fork()
        if pid == 0:
            os.abort()
        os.waitpid(pid, 0)
    """)
    assert engine.run(b"x")[0].outcome == 1
    assert engine.death() is None


def test_a_crash_in_the_import_is_told_in_the_log(harness):
    from engine import Engine

    with Engine(harness("import os\nos.abort()\n# @hitmap.harness\n")) as engine:
        assert engine.control.recv(64) == b"", engine.report()
        assert engine.process.wait(30) == -signal.SIGABRT
        assert "Fatal Python error: Aborted" in engine.log()
