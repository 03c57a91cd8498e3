"""`hitmap.isolated`, histories and snapshots between processes, over libraries that `hitmap-clang` built.

Each test is a program of its own. Those that take `threads` run twice: alone, where the child is forked from the
program itself, and beside another thread, where it is forked from a clean server.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

WRAPPER = Path(sys.executable).parent / "hitmap-clang"
SOURCE = Path(__file__).parent / "libraries" / "steps.c"
MODULE = """\
import ctypes, pathlib
_library = ctypes.CDLL(str(pathlib.Path(__file__).with_name("lib{name}.so")))
step, crash, hang, leave, killed = (getattr(_library, name) for name in "step crash hang leave killed".split())
"""
BESIDE = """\
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    """A folder with two modules over the same source: `steps` with counters, `guarded` with guards and a journal."""
    folder = tmp_path_factory.mktemp("libraries")
    for name, variant in (("steps", "counters"), ("guarded", "guard")):
        command = [WRAPPER, f"--hitmap-variant={variant}", "-O0", "-g", "-fPIC", "-shared", SOURCE]
        subprocess.run([*command, "-o", folder / f"lib{name}.so"], check=True)
        (folder / f"{name}.py").write_text(MODULE.format(name=name))
    return folder


@pytest.fixture(params=["steps", "guarded"])
def program(request, libraries, tmp_path):
    """Runs a program; `steps` is one of the libraries there. Gives what it wrote."""

    def run(text: str, threads: bool = False, head: str = "") -> subprocess.CompletedProcess:
        lines = [head, "import sys", f"sys.path.insert(0, {str(libraries)!r})"]
        lines += [f"import hitmap, {request.param} as steps", BESIDE * threads]
        (tmp_path / "program.py").write_text("\n".join(lines) + "\n" + textwrap.dedent(text))
        run = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run

    return run


threads = pytest.mark.parametrize("threads", [False, True], ids=["alone", "threads"])


@threads
def test_a_run_has_its_own_coverage_and_the_callers_stays(program, threads):
    program(
        """
        cov = hitmap.coverage()
        def run(*wanted):
            for n in wanted:
                steps.step(n)
            return cov.hits
        steps.step(0)
        before = cov.snapshot()
        a, b, both = (hitmap.isolated(run, *wanted) for wanted in ([1], [2], [1, 2]))
        assert [r.outcome for r in (a, b, both)] == ["ok"] * 3, a
        assert cov.snapshot() == before
        # What the child saw of itself is what its caller has.
        assert a.value == a.coverage.hits and both.value == both.coverage.hits
        assert not (a.coverage | b.coverage) ^ both.coverage and a.coverage < both.coverage
        assert before - a.coverage and a.coverage - before
        assert [m.identity for m in cov.modules] == [m.identity for m in a.coverage.modules]
        """,
        threads,
    )


@threads
def test_however_a_run_ends_its_coverage_is_there(program, threads):
    ran = program(
        """
        import os, signal
        def runs(end, *args):
            steps.step(1)
            hitmap.mark("first")
            steps.step(2)
            hitmap.mark("second")
            return end(*args)
        def fails():
            raise KeyError("what")
        reached = hitmap.isolated(runs, int).coverage
        ends = [
            ("ok", runs, int, None, None), ("exception", runs, fails, None, None), ("exit", runs, sys.exit, None, 0),
            ("signal", runs, steps.crash, signal.SIGSEGV, None), ("timeout", runs, steps.hang, None, None),
            ("signal", runs, steps.killed, signal.SIGKILL, None), ("signal", runs, os.abort, signal.SIGABRT, None),
        ]
        for outcome, function, end, number, code in ends:
            # ctypes' functions do not travel, their names do.
            name = getattr(end, "__name__", "")
            if hasattr(steps, name):
                function = lambda *_, name=name: runs(getattr(steps, name))
            run = hitmap.isolated(function, end if function is runs else None, timeout=60 if outcome != "timeout" else 0.5)
            assert (run.outcome, run.signal, run.exit_code) == (outcome, number, code), run
            assert reached <= run.coverage, (run, reached)
            assert list(run.marks) == ["first", "second"]
            assert run.marks["first"] < run.marks["second"] <= run.coverage
            assert run.value == (0 if outcome == "ok" else None)
            if outcome == "exception":
                assert isinstance(run.error, KeyError) and run.error.args == ("what",)
                assert "in fails" in run.traceback and "_fork" not in run.traceback
        for code, leave in ((7, lambda: steps.leave(7)), (0, lambda: os._exit(0)), (1, lambda: sys.exit("why"))):
            run = hitmap.isolated(leave)
            assert (run.outcome, run.exit_code) == ("exit", code), run
        hitmap.mark("outside of a run this does nothing")
        """,
        threads,
    )
    assert ran.stderr == "why\n"


@threads
def test_values_travel_or_it_is_told(program, threads):
    program(
        """
        import threading, hitmap.errors
        def gives(kind):
            if kind == "large":
                return bytes(10_000_000)
            if kind == "raises":
                class Local(Exception): pass
                raise Local("text")
            return threading.Lock()
        # The server may still be reading what its caller reads.
        assert all(hitmap.isolated(gives, "large").value == bytes(10_000_000) for _ in range(10))
        assert hitmap.isolated(dict, a=1).value == {"a": 1}
        lock, local = hitmap.isolated(gives, "lock"), hitmap.isolated(gives, kind="raises")
        for run, says in ((lock, "the value, a lock, cannot be carried over"), (local, "Local: text")):
            assert run.outcome == "exception" and isinstance(run.error, hitmap.errors.IsolatedError)
            assert says in str(run.error) and run.value is None
        assert "return something that pickles" in str(lock.error) and "Local: text" in local.traceback
        # A twin serves many runs, and those after it that had to be given up.
        def one(n):
            steps.step(n % 4)
        first = [hitmap.isolated(one, n).coverage for n in range(4)]
        for n in range(12):
            assert hitmap.isolated(one, n).coverage == first[n % 4]
            if n % 5 == 0:
                assert hitmap.isolated(lambda: (steps.step(3), steps.killed())).outcome == "signal"
        for forever in (None, float("inf"), 1e12):
            assert hitmap.isolated(len, b"abc", timeout=forever).value == 3
        for wrong in (0, -1, float("nan"), float("-inf")):
            try:
                hitmap.isolated(gives, timeout=wrong)
            except ValueError as error:
                assert "above 0" in str(error)
            else:
                raise AssertionError
        """,
        threads,
    )


@threads
def test_nothing_of_a_run_outlives_it(program, threads):
    program(
        """
        import os, subprocess, time
        def starts():
            children = [subprocess.Popen(["sleep", "1000"]).pid]
            pid = os.fork()
            if pid == 0:
                # Comes back from the call, as a fork deep inside a library does.
                return "from the wrong process"
            os.waitpid(pid, 0)
            if (pid := os.fork()) == 0:
                steps.step(3)
                steps.hang()
            while not os.path.exists("ready"):
                os.sched_yield()
            return [*children, pid]
        open("ready", "w").close()
        run = hitmap.isolated(starts)
        assert run.outcome == "ok" and len(run.value) == 2, run
        def gone(pid):
            try:
                return open(f"/proc/{pid}/stat").read().split()[2] == "Z"
            except FileNotFoundError:
                return True
        while not all(map(gone, run.value)):
            os.sched_yield()
        """,
        threads,
    )


def test_a_library_that_the_run_loads_is_counted(program, libraries):
    program("""
        def late():
            import importlib
            other = importlib.import_module("guarded" if steps.__name__ == "steps" else "steps")
            other.step(1)
            hitmap.mark("late")
        run = hitmap.isolated(late)
        other = [m for m in run.coverage.modules if steps.__name__ not in m.name]
        assert len(other) == 1 and other[0].hits > 0, run
        assert run.marks["late"] == run.coverage and hitmap.coverage().total < run.coverage.total
    """)


def test_a_server_imports_once_and_says_what_it_cannot_import(program, tmp_path):
    (tmp_path / "counted.py").write_text("import os\nos.write(2, b'imported ')\ndef one(): return os.getppid()\n")
    (tmp_path / "broken.py").write_text("import sys\nif 'program' not in sys.argv[0]: raise OSError('not here')\ndef one(): pass\n")
    (tmp_path / "deadly.py").write_text("import os, sys\nif 'program' not in sys.argv[0]: os._exit(5)\ndef one(): pass\n")
    ran = program(
        """
        import os, threading, concurrent.futures, broken, counted, deadly, hitmap.errors
        servers = {hitmap.isolated(counted.one).value for _ in range(3)}
        assert len(servers) == 1 and os.getpid() not in servers
        for module, says in ((broken, "OSError: not here"), (deadly, "ended with code 5")):
            try:
                hitmap.isolated(module.one)
            except hitmap.errors.IsolatedError as error:
                assert says in str(error), error
            else:
                raise AssertionError
        lock = threading.Lock()
        try:
            hitmap.isolated(lambda: lock)
        except hitmap.errors.IsolatedError as error:
            assert "cannot travel" in str(error)
        else:
            raise AssertionError
        assert hitmap.isolated(counted.one).outcome == "ok"
        # Runs of several threads go on side by side, and keep their coverage apart.
        def one(n):
            steps.step(n)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            runs = list(pool.map(lambda n: hitmap.isolated(one, n % 4).coverage, range(16)))
        assert all(runs[n] == runs[n % 4] for n in range(16)) and len(set(runs)) == 4
        """,
        threads=True,
    )
    assert ran.stderr.count("imported") <= 6


def test_a_history_says_what_is_new(program):
    program("""
        import pickle
        def one(*wanted):
            for n in wanted:
                steps.step(n)
        history = hitmap.History()
        assert history.update(hitmap.isolated(one, 0)) and not history.update(hitmap.isolated(one, 0))
        before = history.snapshot()
        run = hitmap.isolated(one, 1, 2)
        new = history.update(run)
        assert new == run.coverage - before and 0 < new.hits < run.coverage.hits
        assert history.snapshot() == before | run.coverage and history.hits == history.snapshot().hits
        assert history.total == hitmap.coverage().total and str(history.hits) in repr(history)
        again = hitmap.History(history.snapshot())
        assert not again.update(run) and not pickle.loads(pickle.dumps(history)).update(run.coverage)
        assert again.update(hitmap.isolated(one, 3))
    """)


START = """
def covers(n):
    hitmap.coverage().reset()
    steps.step(n)
    return hitmap.coverage().snapshot()

def joined(snapshots):
    return isolated(covers, 0).value.total and snapshots[0] | snapshots[1]

isolated = hitmap.isolated

if __name__ == "__main__":
    import concurrent.futures, multiprocessing
    here = [covers(n) for n in range(4)]
    assert len(set(here)) == 4
    {body}
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize(
    "body",
    [
        "with multiprocessing.get_context('{method}').Pool(2) as pool: there = pool.map(covers, range(4)); "
        "union = pool.map(joined, [(here[0], here[1])])[0]",
        "with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context('{method}')) as pool: "
        "there = list(pool.map(covers, range(4))); union = pool.submit(joined, (here[0], here[1])).result()",
    ],
    ids=["multiprocessing", "concurrent.futures"],
)
def test_snapshots_and_runs_cross_every_start_method(program, method, body):
    body = body.format(method=method) + "\n    assert there == here and set(there) == set(here)"
    program(START.format(body=body + "\n    assert union == here[0] | here[1] and here[0] < union"))
