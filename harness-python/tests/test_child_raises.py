"""Exceptions that end a run: where they are made below Python, and what tells two of them apart.

A way is a function of `ends/raises.cpp`; `a` and `b` of one kind are two bugs behind one line of the harness.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import sysconfig
from pathlib import Path

import pybind11
import pytest

from engine import EXCEPTION, EXIT, OBSERVE, OUT_OF_MEMORY, RAISED, RUN, TEXT_RECORD, THROWN, THROWN_TYPE, names_of

SOURCE = Path(__file__).parent / "ends" / "raises.cpp"
BINDINGS = ("capi", "pybind11")

# Kind, and what it throws; those that throw nothing raise by the C API.
KINDS = {
    "throw": "St12out_of_range",
    "bad_alloc": "St9bad_alloc",
    "int": "i",
    "later": "St12out_of_range",
    "again": "St12out_of_range",
    "raise": None,
    "format": None,
    "own": None,
    "memory": None,
}
PLACES = {"later": "throw", "again": "throw"}


@functools.cache
def built(folder: Path, binding: str) -> None:
    name = {"capi": "raises.so", "pybind11": "raises_pybind.so"}[binding]
    flags = ["-DPYBIND", f"-I{pybind11.get_include()}"] if binding == "pybind11" else []
    subprocess.run(
        [
            "g++", "-std=c++17", "-O1", "-g", "-w", "-fno-optimize-sibling-calls", "-shared", "-fPIC", "-pthread", *flags,
            f"-I{sysconfig.get_path('include')}", str(SOURCE), "-o", str(folder / name),
        ],
        check=True,
    )  # fmt: skip


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    return tmp_path_factory.mktemp("raises")


@pytest.fixture
def target(worker, libraries):
    def start(binding: str, run: str = "module.go(name)", **options):
        built(libraries, binding)
        name = {"capi": "raises", "pybind11": "raises_pybind"}[binding]
        return worker(
            f"""
            import sys
            sys.path.insert(0, {str(libraries)!r})
            import hitmap
            import {name} as module

            @hitmap.harness
            def run(data):
                name = data.decode()
                {run}
            """,
            **options,
        )

    return start


def ways(engine, record) -> list[str]:
    names = names_of(engine, record.addresses)
    return [name.removeprefix("way_") for name in names if name.startswith("way_")]


def records(engine, slot: int = 0) -> dict:
    return {record.kind: record for record in engine.records() if record.slot == slot}


@pytest.mark.parametrize("phase", [RUN, OBSERVE], ids=["run", "observe"])
@pytest.mark.parametrize("binding", BINDINGS)
def test_two_bugs_behind_one_line_are_two(target, binding, phase):
    engine = target(binding)
    for kind, thrown in KINDS.items():
        if kind == "memory" and sys.version_info >= (3, 12):
            # PyErr_NoMemory raises an instance that lies ready: nobody makes one.
            continue
        signatures = []
        for end in "ab":
            way = f"{kind}_{end}"
            verdict = engine.run(way.encode(), phase=phase)[0]
            is_memory = kind in ("memory", "bad_alloc")
            assert verdict.outcome == (OUT_OF_MEMORY if is_memory else EXCEPTION), (way, engine.log())
            got = records(engine)
            signatures.append(verdict.signature)
            place = f"{PLACES.get(kind, kind)}_{end}"
            if thrown:
                assert ways(engine, got[THROWN])[0] == place, (way, names_of(engine, got[THROWN].addresses))
                assert got[THROWN_TYPE].text == thrown
            else:
                assert THROWN not in got and THROWN_TYPE not in got
                assert ways(engine, got[RAISED])[0] == place, (way, names_of(engine, got[RAISED].addresses))
            # A throw in another thread has that thread's stack.
            told = got[THROWN if thrown else RAISED]
            assert ("begin" in names_of(engine, told.addresses)) == (kind != "later")
            assert "__context__" not in got[TEXT_RECORD].text and "During handling" not in got[TEXT_RECORD].text
        assert len(set(signatures)) == 2, kind


@pytest.mark.parametrize("binding", BINDINGS)
def test_both_phases_and_all_children_say_the_same(target, binding):
    engine = target(binding)
    for kind in KINDS:
        for way in (f"{kind}_a".encode(), f"{kind}_b".encode()):
            said = {engine.run(way)[0].signature, engine.run(way)[0].signature, engine.observe(way).signature}
            engine.end()
            engine.fork()
            said.add(engine.run(way)[0].signature)
            assert len(said) == 1, way


def test_an_exception_is_told_once_by_each_child(target):
    engine = target("capi")
    engine.run(b"throw_a", b"throw_a", b"throw_b")
    assert [record.slot for record in engine.records() if record.kind == TEXT_RECORD] == [0, 2]
    engine.run(b"throw_a")
    assert engine.records() == []
    assert engine.observe(b"throw_a").outcome == EXCEPTION
    assert engine.report().startswith("RuntimeError: same words\n\nframe\t")
    engine.end()
    engine.fork()
    engine.run(b"throw_a")
    assert engine.report().startswith("RuntimeError: same words\n\nframe\t")


def test_what_python_code_raises_has_no_native_stack(worker):
    engine = worker("""
        import hitmap, struct

        @hitmap.harness
        def run(data):
            if data == b"int": int("x")
            if data == b"struct": struct.unpack("<I", b"")
            if data == b"key": {}[1]
            if data == b"sort": sorted([2, 1], key=lambda x: 1 / 0)
            raise ValueError("x")
    """)
    for data in (b"int", b"struct", b"key", b"sort", b""):
        engine.run(data)
        assert set(records(engine)) == {TEXT_RECORD}, (data, names_of(engine, records(engine)[RAISED].addresses))


@pytest.mark.parametrize(("way", "outcome", "cause"), [("set_a", OUT_OF_MEMORY, "MemoryError"), ("set_b", EXCEPTION, "KeyError")])
def test_the_root_is_the_explicit_cause(target, way, outcome, cause):
    engine = target("capi")
    for phase in (RUN, OBSERVE):
        assert engine.run(way.encode(), phase=phase)[0].outcome == outcome
        head, told, _ = engine.report().split("\n\n", 2)
        assert head.startswith("SystemError: ")
        assert f"\ncause\t{cause}: " in f"\n{told}"
        assert ways(engine, records(engine)[RAISED]) == [way]
        engine.end()
        engine.fork()


def test_causes_are_listed_and_contexts_are_not(worker):
    engine = worker("""
        try:
            try:
                try:
                    {}["inner"]
                except KeyError as error:
                    raise OSError("middle") from error
            finally:
                pass
        except OSError as error:
            try:
                1 / 0
            except ZeroDivisionError:
                raise RuntimeError("outer") from error
    """)
    engine.run(b"")
    title, told, _ = engine.report().split("\n\n", 2)
    assert title == "RuntimeError: outer"
    assert [line.split("\t")[1] for line in told.splitlines() if line.startswith("cause")] == ["OSError: middle", "KeyError: 'inner'"]
    assert "ZeroDivisionError" not in told


def test_a_ring_of_causes_ends(worker):
    engine = worker("""
        a, b = ValueError("a"), ValueError("b")
        a.__cause__, b.__cause__ = b, a
        raise a
    """)
    assert engine.run(b"")[0].outcome == EXCEPTION
    assert engine.report().startswith("ValueError: a")


@pytest.mark.parametrize("text", ["from None", "from MemoryError()"])
def test_a_memory_error_counts_as_a_cause_only(worker, text):
    engine = worker(f"""
        try:
            raise MemoryError
        except MemoryError:
            raise OSError("x") {text}
    """)
    assert engine.run(b"")[0].outcome == (EXCEPTION if "None" in text else OUT_OF_MEMORY)


def test_one_recursion_is_one_however_it_is_entered(worker):
    engine = worker("""
        import hitmap

        def even(n): return odd(n + 1)
        def odd(n): return even(n + 1)
        def other(n): return other(n + 1)

        @hitmap.harness
        def run(data):
            if data == b"1": even(0)
            if data == b"2": odd(0)
            if data == b"3": (lambda: even(0))()
            if data == b"4": other(0)
    """)
    one, two, three, four = (v.signature for v in engine.run(b"1", b"2", b"3", b"4"))
    assert one == two == three != four


def test_a_run_that_does_not_raise_again_keeps_its_own_evidence(worker):
    engine = worker("""
        import hitmap
        seen = []

        @hitmap.harness
        def run(data):
            if data == b"exits" and len(seen) == 1:
                seen.append(data)
                sys_exit()
            if data not in seen:
                seen.append(data)
                raise ValueError("first time")

        def sys_exit():
            import sys; sys.exit(3)
    """)
    verdict = engine.run(b"x")[0]
    assert verdict.outcome == EXCEPTION
    assert engine.report().startswith("ValueError: first time")
    assert engine.run(b"x")[0].outcome == 1
    engine.end()
    engine.fork()
    assert engine.run(b"exits")[0].outcome == EXCEPTION


def test_a_repeated_run_covers_nothing_and_takes_no_time_twice(worker):
    engine = worker("""
        import time, hitmap
        runs = []

        @hitmap.harness
        def run(data):
            runs.append(data)
            if data == b"slow": time.sleep(0.15)
            if data != b"count": raise ValueError("x")
            raise SystemExit(len(runs))
    """)
    engine.run(b"quick", b"slow")
    # One repeated, one not; the first look of this one.
    verdict = engine.run(b"count")[0]
    assert (verdict.outcome, verdict.value) == (EXIT, 4)


def test_the_harness_sees_no_trace_of_being_traced(worker):
    engine = worker("""
        import sys, hitmap

        class Own(ValueError):
            def __new__(cls, *args): return super().__new__(cls, *args)

        @hitmap.harness(expected=(Own,))
        def run(data):
            if data == b"own": raise Own("x")
            class Late(KeyError): pass
            assert isinstance(Late("x"), KeyError) and Late("x").args == ("x",)
            assert OSError(2, "x").errno == 2 and type(OSError(2, "x")) is FileNotFoundError
            try: BaseException.__new__(OSError)
            except TypeError: pass
            else: assert False
            raise Late("y")
    """)
    assert [v.outcome for v in engine.run(b"own", b"")] == [2, EXCEPTION]
    assert "Late: 'y'" in engine.report() and "During" not in engine.report()
    assert [engine.observe(data).outcome for data in (b"own", b"")] == [2, EXCEPTION]
