"""`import hitmap`: live coverage of this process, snapshots, and a campaign started from Python.

Coverage belongs to a process, and a library counts from its import on. So each test runs a small program of its own.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import hitmap
import pytest

from campaign import Campaign


@pytest.fixture
def python(built, tmp_path):
    """Runs a program in a fresh interpreter, in an empty folder; its assertions are the test's."""
    for name in ("coverage_only", "two_libraries", "edges_multiple_of_8", "data_only", "exception_expected"):
        built.harness(name)

    def run(program: str, *arguments) -> str:
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
            env=built.environment(), cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        return run.stdout

    return run


def test_hits_grow_with_new_edges_and_never_with_known_ones(python):
    python("""
        import hitmap, coverage_only
        cov = hitmap.coverage()
        coverage_only.run(b"0")
        first = cov.hits
        coverage_only.run(b"0")
        assert cov.hits == first > 0
        coverage_only.run(b"1")
        assert first < cov.hits <= cov.total
    """)


def test_many_runs_lose_no_hit(python):
    """8-bit counters wrap at 256; what was hit stays hit."""
    python("""
        import hitmap, coverage_only
        cov = hitmap.coverage()
        coverage_only.run(b"0")
        first = cov.hits
        for _ in range(1024):
            coverage_only.run(b"0")
            assert cov.hits == first
    """)


def test_reset_forgets_hits_and_keeps_the_total(python):
    python("""
        import hitmap, coverage_only
        cov = hitmap.coverage()
        coverage_only.run(b"0")
        total = cov.total
        cov.reset()
        assert (cov.hits, cov.total) == (0, total)
        coverage_only.run(b"0")
        assert cov.hits > 0
    """)


def test_total_counts_every_library(python):
    python("""
        import hitmap
        cov = hitmap.coverage()
        assert cov.total == 0
        import coverage_only
        one = cov.total
        assert one > 16
        import two_libraries
        assert cov.total > one
        names = [str(module.path) for module in cov.modules]
        assert len(names) == 3, names
        for name in ("coverage_only", "two_libraries", "two_libraries_other"):
            assert any(name in path for path in names), names
        assert sum(module.edges for module in cov.modules) == cov.total
        assert len({module.identity for module in cov.modules}) == 3
    """)


def test_modules_say_how_much_of_each_was_hit(python):
    python("""
        import hitmap, coverage_only, two_libraries
        cov = hitmap.coverage()
        cov.reset()
        two_libraries.run(b"tw...")
        hits = {str(module.path).rpartition("/")[2].split(".")[0]: module.hits for module in cov.modules}
        assert hits["coverage_only"] == 0
        assert hits["two_libraries"] > 0
        assert hits["libtwo_libraries_other"] > 0
        assert sum(hits.values()) == cov.hits
    """)


def test_an_edge_total_that_is_a_multiple_of_8_counts_to_the_last_edge(python):
    python("""
        import hitmap, edges_multiple_of_8
        cov = hitmap.coverage()
        assert cov.total % 8 == 0
        for byte in range(256):
            edges_multiple_of_8.run(b"..." + bytes([byte]))
        before = cov.hits
        edges_multiple_of_8.run(b"o..")
        assert cov.hits > before
        edges_multiple_of_8.run(b"oc.")
        assert before + 1 < cov.hits < cov.total, "all but the bug itself"
    """)


def test_a_library_without_functions_brings_no_edge(python):
    python("""
        import hitmap, data_only
        cov = hitmap.coverage()
        data_only.run(b"d..")
        assert sum(module.edges for module in cov.modules) == cov.total > 0
        assert [module.edges > 0 for module in cov.modules if "table" not in str(module.path)] == [True]
    """)


def test_record_sees_what_happened_inside_only(python):
    python("""
        import hitmap, coverage_only
        cov = hitmap.coverage()
        coverage_only.run(b"0")
        before = cov.hits
        with cov.record() as delta:
            coverage_only.run(b"0")
        assert 0 < delta.hits <= before
        assert cov.hits == before
        with cov.record() as nothing:
            pass
        assert nothing.hits == 0
    """)


def test_record_nests_without_limit(python):
    python("""
        from contextlib import ExitStack
        import hitmap, coverage_only
        cov = hitmap.coverage()
        cov.reset()
        deltas = []
        with ExitStack() as stack:
            for depth in range(64):
                deltas.append(stack.enter_context(cov.record()))
                coverage_only.run(b"%x" % (depth % 16))
        hits = [delta.hits for delta in deltas]
        assert hits == sorted(hits, reverse=True), "the outer one sees what the inner ones saw"
        assert hits[0] > hits[-1] > 0
        assert cov.hits == hits[0]
    """)


def test_record_ends_also_when_its_block_raises(python):
    python("""
        import hitmap, coverage_only
        cov = hitmap.coverage()
        cov.reset()
        try:
            with cov.record() as delta:
                coverage_only.run(b"0")
                raise KeyError
        except KeyError:
            pass
        assert cov.hits == delta.hits > 0
    """)


def test_a_forked_child_has_a_map_of_its_own(python):
    python("""
        import os
        import hitmap, coverage_only
        cov = hitmap.coverage()
        coverage_only.run(b"0")
        before = cov.hits
        child = os.fork()
        if child == 0:
            coverage_only.run(b"1")
            os._exit(0 if cov.hits > before else 9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert cov.hits == before
    """)


def test_a_library_that_was_there_before_hitmap_joins(python):
    python("""
        import coverage_only
        coverage_only.run(b"0")
        import hitmap
        cov = hitmap.coverage()
        assert cov.total > 16
        before = cov.hits
        coverage_only.run(b"1")
        assert cov.hits > before
    """)


def test_a_shell_that_was_given_the_runtime_starts_python(built, tmp_path):
    """Everything in between has the runtime too, and stays as it was."""
    program = "import coverage_only; coverage_only.run(b'0'); import hitmap; print(hitmap.coverage().hits)"
    hits = []
    for preload in ({}, {"LD_PRELOAD": str(Path(hitmap.__file__).parent / "_rt" / "libhitmap_rt.so")}):
        built.harness("coverage_only")
        run = subprocess.run(
            ["sh", "-c", 'ls / | grep -c . >/dev/null; exec sh -c \'"$0" "$@"\' "$0" "$@"', sys.executable, "-c", program],
            env={**built.environment(), **preload}, cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert (run.returncode, run.stderr) == (0, "")
        hits.append(int(run.stdout))
    assert hits[0] == hits[1] > 0


def test_an_instrumented_library_works_without_hitmap(python):
    out = python("""
        import sys
        sys.modules["hitmap"] = None
        import coverage_only
        coverage_only.run(b"0")
        import two_libraries
        two_libraries.run(b"two.!")
        print("fine")
    """)
    assert out == "fine\n"


def test_threads_count(python):
    python("""
        import threading
        import hitmap, coverage_only
        cov = hitmap.coverage()
        coverage_only.run(b"0")
        before = cov.hits
        thread = threading.Thread(target=coverage_only.run, args=(b"1",))
        thread.start()
        thread.join()
        assert cov.hits > before
    """)


def test_snapshots_survive_the_disk(python):
    python("""
        import hitmap, coverage_only
        cov = hitmap.coverage()
        coverage_only.run(b"0")
        snap = cov.snapshot()
        snap.save("a.hitmap")
        back = hitmap.Snapshot.load("a.hitmap")
        assert back == snap
        assert back.hits == cov.hits and back.total == cov.total
    """)


def test_a_snapshot_does_not_change_any_more(python):
    python("""
        import hitmap, coverage_only
        cov = hitmap.coverage()
        coverage_only.run(b"0")
        snap = cov.snapshot()
        before = snap.hits
        coverage_only.run(b"1")
        assert snap.hits == before < cov.hits
    """)


def test_snapshots_of_two_processes_merge(python):
    program = """
        import sys
        import hitmap, coverage_only
        cov = hitmap.coverage()
        coverage_only.run(sys.argv[1].encode())
        cov.snapshot().save(f"{sys.argv[1]}.hitmap")
    """
    python(program, "0")
    python(program, "1")
    python("""
        import hitmap, coverage_only
        a, b = (hitmap.Snapshot.load(f"{n}.hitmap") for n in "01")
        both = a | b
        assert both == b | a == both | a == both | both
        assert both.hits == a.hits + (b - a).hits
        assert (b - a).hits >= 1 and (a - b).hits >= 1 and (a - a).hits == 0
        coverage_only.run(b"0")
        coverage_only.run(b"1")
        assert hitmap.coverage().hits == both.hits, "what one process does that runs both"
    """)


def test_an_edge_has_its_place_in_the_source(python):
    python("""
        import hitmap, coverage_only, two_libraries, os, shutil
        cov = hitmap.coverage()
        places = [cov.where(edge) for edge in range(cov.total)]
        (begin,) = [p for p in places if p.entry and p.function.startswith("run(") and "coverage_only" in p.path]
        text = open(begin.file).read().splitlines()
        assert text[begin.line - 1] == "void run(const uint8_t *data, size_t len) {"
        assert repr(begin) == f"<run(unsigned char const*, unsigned long) at {begin.file}:{begin.line}>"
        cases = {text[p.line - 1].split()[0] for p in places if p.file == begin.file and p.line}
        assert "BRANCH('8')" in cases
        assert begin in set(places) and min(places) <= max(places)
        for module in cov.snapshot().modules:
            live = next(m for m in cov.modules if m.identity == module.identity)
            assert [module.where(i) for i in range(module.edges)] == places[live.first : live.first + live.edges]
            for local in (module.edges, 2**32 - 1):
                try:
                    module.where(local)
                except IndexError as error:
                    assert module.name in str(error)
                else:
                    raise AssertionError(local)
        for edge in (-1, cov.total):
            try:
                cov.where(edge)
            except IndexError as error:
                assert str(edge) in str(error)
            else:
                raise AssertionError(edge)
    """)


def test_a_library_that_was_replaced_or_is_gone_has_no_places(python, built, tmp_path):
    name = built.module("coverage_only").name
    (tmp_path / name).write_bytes(built.module("coverage_only").read_bytes())
    python(
        """
        import hitmap, os, pathlib, sys
        sys.path.insert(0, os.getcwd())
        import coverage_only
        cov, file, other = hitmap.coverage(), pathlib.Path(sys.argv[1]).absolute(), sys.argv[2]
        assert coverage_only.__file__ == str(file)
        file.unlink()
        try:
            cov.where(0)
        except FileNotFoundError as error:
            assert str(file) in str(error)
        else:
            raise AssertionError
        file.write_bytes(open(other, "rb").read())
        try:
            cov.where(0)
        except ValueError as error:
            assert str(file) in str(error) and cov.modules[0].identity in str(error)
        else:
            raise AssertionError
        """,
        name,
        built.module("two_libraries"),
    )


def test_restore_replaces_the_view(python):
    python("""
        import hitmap, coverage_only
        cov = hitmap.coverage()
        coverage_only.run(b"0")
        snap = cov.snapshot()
        coverage_only.run(b"1")
        cov.restore(snap)
        assert cov.hits == snap.hits
        cov.reset()
        cov.restore(snap)
        assert cov.hits == snap.hits
    """)


@pytest.mark.parametrize(
    "damage", ["data[:-1]", "data[: len(data) // 2]", "b''", "data[:20] + b'\\xff' * 64", "data + b'x'"]
)
def test_a_damaged_snapshot_is_an_error_that_names_the_file(python, damage):
    python(f"""
        import hitmap, coverage_only
        hitmap.coverage().snapshot().save("a.hitmap")
        data = open("a.hitmap", "rb").read()
        open("b.hitmap", "wb").write({damage})
        try:
            hitmap.Snapshot.load("b.hitmap")
        except Exception as e:
            assert "b.hitmap" in str(e), e
        else:
            raise AssertionError("it loaded")
    """)


def test_a_harness_stays_an_ordinary_function(python):
    python("""
        import hitmap, exception_expected

        @hitmap.harness(expected=(ValueError,))
        def run(data: bytes):
            "What it says."
            exception_expected.run(data)

        assert run(b"{") is None
        assert run.__name__ == "run" and run.__doc__ == "What it says."
        try:
            run(b"")
        except ValueError as e:
            assert str(e) == "no brace"
        else:
            raise AssertionError("an expected exception is still raised to whoever calls the function")
    """)


@pytest.mark.parametrize("wrong", ["expected=3", "expected=('ValueError',)", "nonsense=1"])
def test_a_harness_with_wrong_arguments_is_a_type_error(python, wrong):
    python(f"""
        import hitmap
        try:
            @hitmap.harness({wrong})
            def run(data): pass
        except TypeError:
            pass
        else:
            raise AssertionError("accepted")
    """)


def test_fuzz_runs_a_campaign_from_a_script(python, built, seeds, out, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""\
        import hitmap
        import coverage_only

        @hitmap.harness
        def run(data):
            coverage_only.run(data)

        if __name__ == "__main__":
            result = hitmap.fuzz(run, seeds={str(seeds(b"x"))!r}, out="out", workers=1, max_execs=5000, seed=1)
            print("code", getattr(result, "exit_code", result))
    """)
    )
    run = subprocess.run(
        [sys.executable, script], env=built.environment(), cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert out.count("execs_done") >= 5_000
    assert json.loads((out.folder / "campaign.json").read_text())


def test_fuzz_from_a_script_finds_and_keeps_findings(built, seeds, out, tmp_path):
    built.harness("many_signals")
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""\
        import hitmap
        import many_signals

        @hitmap.harness
        def run(data):
            many_signals.run(data)

        if __name__ == "__main__":
            hitmap.fuzz(run, seeds={str(seeds(b"x"))!r}, out="out", workers=1, max_execs=20000, seed=1)
            print("alive")
    """)
    )
    run = subprocess.run(
        [sys.executable, script], env=built.environment(), cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "alive" in run.stdout, "a finding does not end the script that asked for it"
    assert out.kinds == ("signal", "signal", "signal")


def test_importing_hitmap_starts_nothing_and_writes_nothing(python, tmp_path):
    python("""
        import os, threading
        import hitmap
        assert threading.active_count() == 1
        assert len(os.listdir("/proc/self/task")) == 1
    """)
    assert list(tmp_path.iterdir()) == []


def test_coverage_of_a_campaign_loads_as_a_snapshot(python, built, hitmap_, seeds, out):
    hitmap_(
        "fuzz", built.harness("coverage_only"), "-i", seeds(b"x"), "-o", out.folder,
        "-j", 1, "--seed", 1, "--max-execs", 5_000,
    )  # fmt: skip
    found = int(Campaign(out.folder).stats()["edges_found"])
    python(
        """
        import sys
        import hitmap
        assert hitmap.Snapshot.load(sys.argv[1]).hits == int(sys.argv[2])
        """,
        out.folder / "coverage.hitmap",
        found,
    )
