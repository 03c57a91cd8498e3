"""Ways out of a target: what the death note holds of each, by binding and thread.

A way is a function of `ends/ends.cpp`. All that is compared are facts of the note, and which functions of the target its
stack has, innermost first.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import pybind11
import pytest

from engine import (
    BAD_ALLOC,
    EXITED_BY_CALL,
    FROM_OUTSIDE,
    SIGNALLED,
    STACK_ENDED,
    TERMINATED,
    Died,
    Engine,
    names_of,
)
from test_making import MUTATOR, made

SOURCE = Path(__file__).parent / "ends" / "ends.cpp"
BINDINGS = ("ctypes", "capi", "pybind11")
ABORT, SEGV = signal.SIGABRT, signal.SIGSEGV


@functools.cache
def built(folder: Path, binding: str) -> Path:
    """The target as a library for this binding."""
    name = {"ctypes": "libends.so", "capi": "ends.so", "pybind11": "ends_pybind.so"}[binding]
    flags = ["-DPYBIND", f"-I{pybind11.get_include()}"] if binding == "pybind11" else []
    subprocess.run(
        [
            "g++", "-std=c++17", "-O1", "-g", "-w", "-fno-optimize-sibling-calls", "-shared", "-fPIC", "-pthread", *flags,
            f"-I{sysconfig.get_path('include')}", str(SOURCE), "-o", str(folder / name),
        ],
        check=True,
    )  # fmt: skip
    return folder / name


def ways(engine, frames: list[int]) -> list[str]:
    """The target's own ways in a stack."""
    return [name.removeprefix("way_") for name in names_of(engine, frames) if name.startswith("way_")]


@dataclass
class Ends:
    """What a note must hold. Without `path` the stack is that of the way itself."""

    how: int
    status: int
    path: list[str] | None = None
    text: str = ""
    thrown: str = ""
    flags: int = 0
    signal: int = 0
    extra: dict = field(default_factory=dict)


def dies(number: int, **more) -> Ends:
    return Ends(SIGNALLED, -number, signal=number, **more)


def terminates(**more) -> Ends:
    return Ends(TERMINATED, -ABORT, **more)


def exits(code: int, **more) -> Ends:
    return Ends(EXITED_BY_CALL, code, **more)


FAULT = dies(SEGV, path=["null"])
ENDS = {
    "throw": terminates(thrown="St13runtime_error", text="bad header"),
    "throw_own": terminates(thrown="9own_error", text="own words"),
    "throw_second_base": terminates(thrown="9two_bases", text="second base"),
    "throw_int": terminates(thrown="i"),
    "throw_pointer": terminates(thrown="PKc"),
    "bad_alloc": terminates(thrown="St9bad_alloc", text="std::bad_alloc", flags=BAD_ALLOC),
    "bad_array": terminates(thrown="St20bad_array_new_length", text="std::bad_array_new_length", flags=BAD_ALLOC),
    "throw_over_guard": terminates(thrown="St13runtime_error", text="bad header", path=["throw", "throw_over_guard"]),
    "noexcept": terminates(thrown="St13runtime_error", text="bad header", path=["throw", "noexcept"]),
    "joinable": terminates(),
    "terminate": terminates(),
    "handler_exits": Ends(TERMINATED, 9, thrown="St13runtime_error", text="bad header", path=["throw", "handler_exits"]),
    "handler_aborts": terminates(thrown="St13runtime_error", text="bad header", path=["throw", "handler_aborts"]),
    "pure": terminates(),
    "null": FAULT,
    "abort": dies(ABORT),
    "abort_blocked": dies(ABORT),
    "fault_blocked": dies(SEGV, path=["null", "fault_blocked"]),
    "assert": dies(ABORT, text="Assertion `sink == 12345 && \"the answer\"' failed."),
    "double_free": dies(ABORT, text="double free"),
    "divide": dies(signal.SIGFPE),
    "overflow": dies(SEGV, flags=STACK_ENDED),
    "overflow_big": dies(SEGV, flags=STACK_ENDED),
    "jump_nowhere": dies(SEGV),
    "exit": exits(3),
    "exit_now": exits(4),
    "Exit_now": exits(4),
    "quick_exit": exits(5),
    "fault_then_abort": Ends(SIGNALLED, -ABORT, signal=SEGV, path=["null", "fault_then_abort"]),
    "fault_then_exit": Ends(SIGNALLED, 6, signal=SEGV, path=["null", "fault_then_exit"]),
    "fault_then_exit_now": Ends(SIGNALLED, 6, signal=SEGV, path=["null", "fault_then_exit_now"]),
    "fault_again": dies(SEGV, path=["null", "fault_again"]),
    "fault_return": dies(SEGV, path=["null", "fault_return"]),
    "fault_once": dies(SEGV, path=["null", "fault_once"]),
    "fault_ignored": dies(SEGV, path=["null", "fault_ignored"]),
    "recovered_then_abort": dies(ABORT),
    "recovered_then_exit": exits(3),
    "overflow_handled": dies(SEGV, flags=STACK_ENDED, path=["overflow"]),
    "fault_in_alarm": dies(SEGV, path=["null", "fault_in_alarm"]),
    "alarm": dies(signal.SIGALRM),
    "user_signal": dies(signal.SIGUSR1),
    "user_signal_reset": dies(signal.SIGUSR2),
    "killed_by_child": dies(signal.SIGTERM, flags=FROM_OUTSIDE),
}
# In the main thread these end the process; in another one they end the thread.
ENDS_OF_THREADS = {
    "thread_exit": exits(0),
    "thread_exit_over_guard": exits(0),
    "cancelled": exits(0),
}
BACK = ("recovers", "ignores", "answers", "catches", "threads")
# pybind11 makes Python exceptions of these, in its own thread.
TRANSLATED = ("throw", "throw_own", "throw_second_base", "throw_int", "throw_pointer", "bad_alloc", "bad_array", "throw_over_guard", "handler_exits", "handler_aborts")


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    return tmp_path_factory.mktemp("ends")


@pytest.fixture
def target(worker, libraries):
    """A worker on the target by one binding; its input is the way, and whether to go it in a thread."""

    def start(binding: str, before: str = "", **options):
        library = built(libraries, binding)
        how = {
            "ctypes": f"import ctypes; lib = ctypes.CDLL({str(library)!r}); go = lambda n, t: lib.go(n, t)",
            "capi": f"sys.path.insert(0, {str(libraries)!r}); import ends; ends.prepare(); go = lambda n, t: ends.go(n.decode(), t)",
            "pybind11": f"sys.path.insert(0, {str(libraries)!r}); import ends_pybind; go = lambda n, t: ends_pybind.go(n.decode(), t)",
        }[binding]
        return worker(
            f"""
            import sys
            import hitmap
            {how}
            {before}

            @hitmap.harness
            def run(data):
                name, _, in_thread = data.partition(b" ")
                go(name, 1 if in_thread else 0)
            """,
            **options,
        )

    return start


def check(engine, way: str, in_thread: bool, expected: Ends, phase: int = 1) -> None:
    """Runs a way, and compares what it left."""
    data = way.encode() + (b" thread" if in_thread else b"")
    try:
        engine.run(data, phase=phase)
    except Died as died:
        status = os.waitstatus_to_exitcode(died.status)
    else:
        raise AssertionError("it came back")
    death = engine.death()
    assert status == expected.status, engine.log()
    assert death is not None, engine.log()
    stack = death.stack.frames
    path = expected.path or [way]
    assert (death.how, death.signal) == (expected.how, expected.signal), (death, names_of(engine, stack))
    if expected.flags != FROM_OUTSIDE:
        # A signal from outside meets any thread that does not block it.
        assert ways(engine, stack)[: len(path)] == path, names_of(engine, stack)
        assert death.stack.depth >= 120 or names_of(engine, stack).count("begin") == 1, names_of(engine, stack)
    assert death.flags == expected.flags, (death, names_of(engine, stack))
    assert death.thrown == expected.thrown
    assert expected.text in death.text and bool(expected.text) == bool(death.text), death.text
    assert not any("hitmap" in name or "_native" in name for name in names_of(engine, stack)), names_of(engine, stack)
    is_fault = expected.how == SIGNALLED
    assert (death.stack.interrupted == 0) == is_fault, (death.stack.interrupted, names_of(engine, stack))
    engine.fork()


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("in_thread", [False, True], ids=["main", "thread"])
def test_every_way_out_leaves_its_note(target, binding, in_thread):
    engine = target(binding)
    wrong = []
    for way, expected in ENDS.items():
        if binding == "pybind11" and not in_thread and way in TRANSLATED:
            continue
        try:
            check(engine, way, in_thread, expected)
        except AssertionError as error:
            wrong.append(f"{way}: {str(error)[:1500]}")
            if "came back" not in str(error):
                engine.fork()
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("way", ENDS_OF_THREADS)
def test_a_forced_unwind_leaves_the_main_thread_as_in_plain_python(target, libraries, binding, way):
    engine = target(binding)
    path = ["thread_exit", way] if way == "thread_exit_over_guard" else [way]
    module = {"ctypes": f"import ctypes; go = ctypes.CDLL({str(built(libraries, binding))!r}).go; name = {way.encode()!r}"}.get(
        binding, f"from {built(libraries, binding).stem} import go; name = {way!r}"
    )
    plain = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(libraries)!r}); {module}; go(name, 0)"]
    code = subprocess.run(plain, check=False, capture_output=True).returncode
    if (binding, way) == ("pybind11", "cancelled"):
        # A destructor in its dispatcher ran before anybody could look, and the stack below it is gone.
        with pytest.raises(Died) as died:
            engine.run(way.encode())
        assert (died.value.code, engine.death().how) == (code, EXITED_BY_CALL)
        return
    check(engine, way, False, Ends(EXITED_BY_CALL, code, path=path))


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_thread_that_ends_is_no_end(target, binding):
    engine = target(binding)
    for way in ENDS_OF_THREADS:
        assert engine.run(f"{way} thread".encode())[0].outcome == 1
        assert engine.death() is None


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_run_that_goes_on_leaves_no_note(target, binding):
    engine = target(binding)
    for _ in range(2):
        for way in BACK:
            for data in (way, f"{way} thread"):
                assert engine.run(data.encode())[0].outcome == 1, (data, engine.log())
                assert engine.death() is None, data


def test_a_jump_to_the_import_makes_no_second_server(target):
    """Where it lands is anybody's guess: the frame is gone."""
    engine = target("capi")
    with pytest.raises(Died):
        engine.run(b"jump_out")
    assert engine.death().how == SIGNALLED
    engine.fork()
    assert engine.run(b"catches")[0].outcome == 1


@pytest.mark.parametrize("in_thread", [False, True], ids=["main", "thread"])
def test_a_deep_stack_keeps_both_ends_when_it_is_observed(target, in_thread):
    engine = target("ctypes")
    check(engine, "overflow", in_thread, ENDS["overflow"])
    assert (len(engine.death().stack.frames), engine.death().stack.outer) == (128, [])
    check(engine, "overflow", in_thread, ENDS["overflow"], phase=2)
    stack = engine.death().stack
    assert len(stack.outer) == 64 and stack.depth > 10_000
    assert "begin" in names_of(engine, stack.outer)


def test_without_the_witness_there_is_less_but_nothing_else(target):
    """What needs none: signals of the main thread, `exit`, and exceptions that nobody catches."""
    import hitmap

    witness = Path(hitmap.__file__).parent / "_rt" / "libhitmap_witness.so"
    away = witness.rename(witness.with_suffix(".away"))
    try:
        engine = target("ctypes")
        for way in ("throw", "bad_alloc", "null", "abort", "assert", "exit", "quick_exit", "overflow"):
            check(engine, way, False, ENDS[way])
        for way in ("exit_now", "fault_blocked"):
            with pytest.raises(Died):
                engine.run(way.encode())
            assert engine.death() is None
            engine.fork()
    finally:
        away.rename(witness)


def test_the_targets_own_children_inherit_nothing(target):
    engine = target(
        "ctypes",
        before="import os, subprocess; print(subprocess.run(['env'], capture_output=True, text=True).stdout, file=sys.stderr)",
    )
    said = engine.log()
    assert "PATH=" in said and "LD_PRELOAD" not in said and "HITMAP_PRELOADED" not in said


@pytest.mark.parametrize("way", ["null", "throw", "exit"])
def test_a_library_that_the_run_itself_loads_has_a_name(worker, libraries, way):
    engine = worker(f"import ctypes; ctypes.CDLL({str(built(libraries, 'ctypes'))!r}).go(data, 0)")
    check(engine, way, False, ENDS[way])


def test_pythons_stack_of_a_known_end_is_written_once(target):
    """By all children of a server; what is observed is told in full."""
    engine = target("ctypes")

    def dump(data: bytes, phase: int = 1) -> bool:
        os.ftruncate(engine.fds["log"], 0)
        with pytest.raises(Died):
            engine.run(data, phase=phase)
        engine.fork()
        return "Fatal Python error" in engine.log()

    assert [dump(b"null"), dump(b"null"), dump(b"abort"), dump(b"null")] == [True, False, True, False]
    assert dump(b"null", phase=2)
    assert [dump(b"throw"), dump(b"throw"), dump(b"null thread"), dump(b"null thread")] == [True, False, True, False]


PANIC = """
#[unsafe(no_mangle)]
pub extern "C-unwind" fn their_function(_: *const u8) { panic!("their words") }
"""


def test_a_panic_of_another_extension_ends_at_the_panic(worker, tmp_path):
    """Nobody catches it in plain Python; ours must not either."""
    (tmp_path / "theirs.rs").write_text(PANIC)
    library = tmp_path / "libtheirs.so"
    command = ["rustc", "--edition", "2024", "--crate-type", "cdylib", "-g", str(tmp_path / "theirs.rs"), "-o", str(library)]
    subprocess.run(command, check=True, capture_output=True)
    engine = worker(f"""
        import ctypes, hitmap
        library = ctypes.CDLL({str(library)!r})

        @hitmap.harness
        def run(data): library.their_function(data)
    """)
    with pytest.raises(Died) as died:
        engine.run(b"x")
    assert died.value.signal == ABORT
    assert "their_function" in names_of(engine, engine.death().stack.frames)
    assert "their words" in engine.log()


def test_a_throw_in_the_import_is_told_as_in_plain_python(harness, libraries):
    library = built(libraries, "ctypes")
    with Engine(harness(f"import ctypes\nctypes.CDLL({str(library)!r}).go(b'throw', 0)\n# @hitmap.harness\n")) as engine:
        assert engine.control.recv(64) == b"", engine.report()
        assert engine.process.wait(30) == -ABORT
        assert "terminate called after throwing an instance of 'std::runtime_error'" in engine.log()
        assert "rust" not in engine.log().lower()


def test_what_a_mutator_throws_ends_at_its_throw(worker, libraries):
    engine = worker(f"""
        import ctypes, hitmap
        library = ctypes.CDLL({str(built(libraries, "ctypes"))!r})

        def mutate(data, max_size, seed): library.go(b"throw", 0)

        @hitmap.harness(mutator=mutate)
        def run(data): pass
    """)
    with pytest.raises(Died) as died:
        made(engine, (MUTATOR, 1, b"x"))
    assert died.value.signal == ABORT
    death = engine.death()
    assert (death.how, death.thrown) == (TERMINATED, "St13runtime_error")
    assert ways(engine, death.stack.frames) == ["throw"]


def test_hitmap_itself_brings_no_fork_handlers_of_python(worker):
    """They would run in each child. Python's own start may have imported some."""
    engine = worker("assert not {'threading', 'random', 'logging'} & set(__import__('sys').modules)")
    plain = subprocess.run([sys.executable, "-c", "import sys; print({'threading', 'random', 'logging'} & set(sys.modules))"], check=True, capture_output=True, text=True)  # fmt: skip
    assert plain.stdout != "set()\n" or engine.run(b"x")[0].outcome == 1
