"""Loading a harness: what is found, and what is said when it is not."""

import os
import sys

import pytest

from engine import FAILED, READY, Engine
from hitmap.errors import LoadFailure
from hitmap.worker import split

TWO = """
    import hitmap

    @hitmap.harness
    def one(data): pass

    @hitmap.harness
    def two(data): raise RuntimeError
"""


def refused(argument, code, *says, **options):
    with Engine(argument, **options) as engine:
        kind, got, _ = engine.hear()
        assert (kind, got) == (FAILED, code), engine.report()
        report = engine.report()
        assert all(word in report for word in says), report
        assert engine.process.wait(30) == 0
    return report


def accepted(argument, **options):
    with Engine(argument, **options) as engine:
        assert engine.hear()[0] == READY, engine.report()


def test_a_file_that_is_not_there(tmp_path):
    refused(tmp_path / "missing.py", LoadFailure.NO_FILE, "missing.py", "no such file")


def test_an_import_that_raises_shows_the_users_frames_only(harness):
    path = harness("import hitmap\n# @hitmap.harness\ndef f(): return {}['x']\nf()\n")
    report = refused(path, LoadFailure.IMPORT, "KeyError: 'x'", 'target.py", line 3, in f')
    assert "worker.py" not in report and "importlib" not in report
    assert not report.startswith("Traceback"), "the engine's sentence stands above it"


def test_a_syntax_error_names_the_line(harness):
    refused(harness("# @hitmap.harness\ndef (:\n"), LoadFailure.IMPORT, "SyntaxError", "line 2")


def test_a_missing_module_names_the_interpreter(harness):
    refused(harness("# @hitmap.harness\nimport not_there\n"), LoadFailure.IMPORT, "not_there", sys.executable, "pip")


def test_a_file_that_exits_is_told_where_to_put_that(harness):
    refused(harness("# @hitmap.harness\nraise SystemExit(3)\n"), LoadFailure.IMPORT, "SystemExit: 3", "__main__")


def test_a_file_without_harness(harness):
    refused(harness("# @hitmap.harness\ndef run(data): pass\n"), LoadFailure.NO_HARNESS, "@hitmap.harness")


def test_several_harnesses_are_listed(harness):
    assert refused(harness(TWO), LoadFailure.SEVERAL_HARNESSES) == "one, two"


def test_a_name_that_is_not_there_lists_those_that_are(harness):
    assert refused(f"{harness(TWO)}:three", LoadFailure.NO_SUCH_HARNESS) == "one, two"


def test_one_of_several_can_be_named(harness):
    accepted(f"{harness(TWO)}:one")


def test_a_plain_function_can_be_named(harness):
    path = harness("# @hitmap\ndef TestOneInput(data): pass\n")
    accepted(f"{path}:TestOneInput")


def test_two_names_of_one_harness_are_one(harness):
    accepted(harness("import hitmap\n@hitmap.harness\ndef run(data): pass\nalias = run\n"))


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ("async def run(data): pass", "async"),
        ("def run(data): yield", "generator"),
        ("def run(): pass", "one argument"),
        ("def run(data, other): pass", "one argument"),
    ],
)
def test_a_function_that_cannot_work_is_refused(harness, definition, says):
    refused(harness(f"import hitmap\n@hitmap.harness\n{definition}\n"), LoadFailure.OTHER, "run", says)


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ("class Run:\n    async def __call__(self, data): pass\nrun = hitmap.harness(Run())", "Run is an async"),
        ("class Run:\n    def __call__(self, data): yield\nrun = hitmap.harness(Run())", "Run is a generator"),
        ("async def to(data, other): pass\nrun = hitmap.harness(functools.partial(to, other=1))", "is an async"),
        ("async def to(data): pass\nrun = hitmap.harness(decode=to)(lambda data: None)", "decode= of <lambda> is an async"),
        ("async def to(data, n, seed): pass\nrun = hitmap.harness(mutator=to)(lambda data: None)", "mutator= of"),
    ],
)
def test_whatever_runs_nothing_when_it_is_called_is_refused(harness, definition, says):
    refused(harness(f"import functools, hitmap\n{definition}\n# @hitmap\n"), LoadFailure.OTHER, says)


def test_an_async_function_inside_a_plain_one_is_accepted(harness):
    wrap = "def plain(f):\n    @functools.wraps(f)\n    def run(data): asyncio.run(f(data))\n    return run\n"
    accepted(harness(f"import asyncio, functools, hitmap\n{wrap}@hitmap.harness\n@plain\nasync def run(data): pass\n"))


def test_the_part_for_scripts_does_not_run(harness):
    text = TWO.replace("two", "_two").replace("@hitmap.harness\n    def _two", "def two")
    accepted(harness(text + "\n    if __name__ == '__main__':\n        raise SystemExit\n"))


def test_a_harness_named_like_its_library_does_not_shadow_it(harness, tmp_path):
    """Both from its own folder and from the current one."""
    path = harness(
        "import hitmap, colorsys\ncolorsys.rgb_to_hsv\n@hitmap.harness\ndef run(data): pass\n", name="colorsys.py"
    )
    accepted(path)
    accepted("colorsys.py", cwd=tmp_path)


def test_modules_beside_the_file_are_found(harness, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    harness("VALUE = 1\n# @hitmap\n", name="elsewhere/neighbour_of_target.py")
    accepted(
        harness("import hitmap, neighbour_of_target\n@hitmap.harness\ndef run(data): pass\n", name="elsewhere/t.py")
    )


def test_its_classes_can_be_pickled(harness):
    accepted(harness("""
        import pickle, hitmap
        class Node: pass
        assert type(pickle.loads(pickle.dumps(Node()))) is Node

        @hitmap.harness
        def run(data): pass
    """))  # fmt: skip


def test_a_pickled_harness_is_loaded(tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")
    import hitmap

    def local(data):
        raise KeyError(data)

    path = tmp_path / "out.harness.pkl"
    path.write_bytes(cloudpickle.dumps(hitmap.harness(expected=KeyError)(local)))
    with Engine(path) as engine:
        assert engine.start().run(b"x")[0].outcome == 2
    path.write_bytes(cloudpickle.dumps(3))
    refused(path, LoadFailure.OTHER, "int")
    path.write_bytes(b"garbage")
    refused(path, LoadFailure.IMPORT, "Unpickling")


def test_a_report_that_is_no_utf8_is_told(harness):
    refused(harness("# @hitmap\nraise RuntimeError('\\ud800')\n"), LoadFailure.IMPORT, "\\ud800")


@pytest.mark.parametrize(
    ("argument", "file", "name"),
    [
        ("a.py", "a.py", None),
        ("a.py:run", "a.py", "run"),
        ("/x/y:z/a.py", "/x/y:z/a.py", None),
        ("/x/y:z/a.py:run", "/x/y:z/a.py", "run"),
        ("a.py:", "a.py:", None),
    ],
)
def test_arguments_are_split(argument, file, name):
    found, found_name = split(argument)
    assert (os.fspath(found), found_name) == (file, name)


@pytest.mark.parametrize("folder", ["plain", "a.py:b", "a::b", "a.py::C::test", "x:y"])
@pytest.mark.parametrize("file", ["h.py", "h.py:x.py", "h"])
@pytest.mark.parametrize(("rest", "name"), [("", None), (":run", "run"), ("::Class::test", "Class.test"), (":A.f", "A.f")])
def test_arguments_are_split_where_the_file_ends(tmp_path, folder, file, rest, name):
    path = tmp_path / folder / file
    path.parent.mkdir()
    path.write_text("")
    assert split(f"{path}{rest}") == (path, name)


def test_a_build_that_is_not_there_says_how_to_get_it(harness):
    refused(harness("pass"), LoadFailure.NO_VARIANT, "asan", "hitmap build --asan", variant="asan")


def beside(path, variant, **files):
    folder = path.parent / ".hitmap" / variant
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("_py", ".py")).write_text(text)
    return folder


def test_a_build_of_another_kind_comes_first_and_is_said_to_be_there(harness):
    path = harness("import hitmap\nimport built_twice\nassert built_twice.COMPARED\n@hitmap.harness\ndef run(data): pass\n")
    beside(path, "comparisons", built_twice_py="COMPARED = True\n")
    with Engine(path, variant="comparisons") as engine:
        kind, value, _ = engine.hear()
        assert (kind, value & 1) == (READY, 1), engine.report()


def test_a_preload_that_is_gone_is_named(harness):
    path = harness("pass")
    beside(path, "asan", preload="/nowhere/libasan.so\n")
    refused(path, LoadFailure.NO_VARIANT, "/nowhere/libasan.so", "hitmap build --asan", variant="asan")


def test_what_is_preloaded_for_a_build_does_not_reach_what_the_harness_starts(harness):
    path = harness(
        "import ctypes, hitmap, os\nassert 'LD_PRELOAD' not in os.environ\n"
        "assert 'libutil.so.1' in open('/proc/self/maps').read()\n@hitmap.harness\ndef run(data): pass\n"
    )
    maps = open("/proc/self/maps").read().splitlines()
    libc = next(line.split()[-1] for line in maps if "libc.so" in line or "/libc-" in line)
    beside(path, "asan", preload=f"{os.path.dirname(libc)}/libutil.so.1\n")
    accepted(path, variant="asan")
