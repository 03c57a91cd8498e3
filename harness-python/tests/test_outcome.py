"""What becomes of one input: every way in which Python code can end, its signature and its report."""

import pytest

from engine import EXCEPTION, EXIT, OK, OUT_OF_MEMORY, REJECTED, Died


def outcomes(engine, *inputs):
    return [v.outcome for v in engine.run(*inputs)]


def test_a_return_is_ok_whatever_is_returned(worker):
    assert outcomes(worker("return {b'n': None, b'f': False}.get(data, object())"), b"n", b"f", b"x") == [OK] * 3


def test_expected_exceptions_reject(worker):
    engine = worker(
        "raise {b'v': ValueError, b'u': UnicodeDecodeError, b'k': KeyError}[data]"
        "(*(('utf-8', b'', 0, 1, '') if data == b'u' else ()))",
        expected="expected=(ValueError, EOFError)",
    )
    assert outcomes(engine, b"v", b"u", b"k") == [REJECTED, REJECTED, EXCEPTION]


def test_one_expected_class_needs_no_tuple(worker):
    assert outcomes(worker("raise OSError", expected="expected=OSError"), b"") == [REJECTED]


@pytest.mark.parametrize("raised", ["RuntimeError", "KeyboardInterrupt", "GeneratorExit", "AssertionError"])
def test_anything_else_is_a_finding(worker, raised):
    assert outcomes(worker(f"raise {raised}('why')"), b"") == [EXCEPTION]


@pytest.mark.parametrize(
    ("code", "value"), [("None", 0), ("0", 0), ("7", 7), ("-1", 255), ("'text'", 1), ("1 << 80", 1)]
)
def test_system_exit_keeps_its_status(worker, code, value):
    verdict = worker(f"sys.exit({code})").run(b"")[0]
    assert (verdict.outcome, verdict.value) == (EXIT, value)


def test_exit_in_c_ends_the_child(worker):
    engine = worker("import ctypes; ctypes.CDLL(None).exit(5)")
    with pytest.raises(Died) as died:
        engine.run(b"")
    assert died.value.code == 5
    assert engine.cur == 0 and engine.verdict(0).outcome == 0


def test_memory_error_is_out_of_memory(worker):
    assert outcomes(worker("raise MemoryError"), b"") == [OUT_OF_MEMORY]


TWO_PLACES = """
    import hitmap

    def inner(data):
        if data == b"a":
            raise KeyError(data)
        raise KeyError(data)

    @hitmap.harness
    def run(data):
        if data.isdigit():
            deep(int(data))
        if data == b"type":
            raise IndexError
        inner(data)

    def deep(n):
        if n:
            deep(n - 1)
        raise RuntimeError
"""


def test_signatures_tell_places_and_types_apart_but_not_messages(worker):
    engine = worker(TWO_PLACES)
    a, b, c, again, kind = (v.signature for v in engine.run(b"a", b"b", b"c", b"a", b"type"))
    assert a == again != 0
    assert b == c, "only the message differs"
    assert len({a, b, kind}) == 3


def test_recursion_of_any_depth_has_one_signature(worker):
    deep, deeper = (v.signature for v in worker(TWO_PLACES).run(b"500", b"700"))
    assert deep == deeper != 0


def test_signatures_are_the_same_in_every_process(worker):
    assert worker(TWO_PLACES).run(b"a")[0].signature == worker(TWO_PLACES).run(b"a")[0].signature


def test_the_report_has_title_frames_and_traceback(worker, tmp_path):
    engine = worker(TWO_PLACES)
    verdict = engine.observe(b"a")
    title, frames, trace = engine.report().split("\n\n", 2)
    assert title == "KeyError: b'a'"
    file = str(tmp_path / "target.py")
    assert frames.split("\n") == [f"frame\t{file}\t6\tinner", f"frame\t{file}\t15\trun"]
    assert trace.startswith("Traceback (most recent call last):\n") and "raise KeyError(data)" in trace
    assert verdict.outcome == EXCEPTION
    assert verdict.signature == engine.run(b"a")[0].signature


def test_what_is_expected_gets_no_report(worker):
    engine = worker("raise ValueError", expected="expected=ValueError")
    assert engine.observe(b"").outcome == REJECTED
    assert engine.report() == ""


def test_chained_exceptions_are_in_the_traceback(worker):
    engine = worker("""
        try:
            {}["missing"]
        except KeyError as error:
            raise RuntimeError("outer") from error
    """)
    engine.observe(b"")
    assert engine.report().startswith("RuntimeError: outer\n\nframe\t")
    assert "KeyError: 'missing'" in engine.report()


@pytest.mark.parametrize(
    ("raised", "title"),
    [
        ("RuntimeError('two\\nlines\\n\\nand more')", "RuntimeError: two lines and more"),
        ("RuntimeError()", "RuntimeError"),
        ("RuntimeError('lone \\ud800 surrogate')", "RuntimeError: lone \\ud800 surrogate"),
        ("Own('x')", "Own: x"),
        ("Bad('x')", "Bad: (str() of it raised ZeroDivisionError)"),
        (
            "__import__('json').JSONDecodeError('m', 'doc', 0)",
            "json.decoder.JSONDecodeError: m: line 1 column 1 (char 0)",
        ),
    ],
)
def test_titles_are_one_line(worker, raised, title):
    engine = worker(f"""
        import hitmap
        class Own(Exception): pass
        class Bad(Exception):
            def __str__(self): 1 / 0

        @hitmap.harness
        def run(data):
            raise {raised}
    """)
    engine.observe(b"")
    assert engine.report().split("\n\n")[0] == title


def test_a_traceback_too_long_to_print_is_cut(worker):
    engine = worker("raise RuntimeError('x' * 2_000_000)")
    assert engine.observe(b"").outcome == EXCEPTION
    assert len(engine.report()) == (1 << 20) - 16


def test_an_endless_recursion_is_an_exception(worker):
    engine = worker("run(data)")
    assert engine.observe(b"").outcome == EXCEPTION
    assert engine.report().startswith("RecursionError: maximum recursion depth exceeded")
