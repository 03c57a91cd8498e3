"""Live coverage over a stand-in for the runtime: the same C ABI in forty lines of C, two libraries of four edges."""

import subprocess
import sys
import textwrap

import pytest

import hitmap
from hitmap import _native

RUNTIME = r"""
#include <stdint.h>
#include <string.h>
struct hitmap_module { uint8_t identity[32]; uint32_t identity_len, kind; uint64_t first;
                       uint32_t edges, refused, hits, reserved; char path[1024]; };
static uint8_t view[64][8]; static int depth; uint64_t known = 8; uint32_t version = 1, build;
uint32_t hitmap_version(void) { return version; }
int hitmap_attach(int fd, uint64_t token) { return -3; }
int hitmap_twin(uint64_t *token) { return -4; }
int hitmap_enter(int fd, uint64_t token) { return -3; }
uint64_t hitmap_total(void) { return known; }
static uint32_t count(int from, int to) { uint32_t n = 0; for (int i = from; i < to; i++) n += view[depth][i] != 0; return n; }
uint64_t hitmap_hits(void) { return count(0, 8); }
void hitmap_reset(void) { memset(view[depth], 0, 8); }
int hitmap_push(void) { if (depth == 63) return -4; memset(view[++depth], 0, 8); return 0; }
int hitmap_merge(const uint8_t *c, size_t n) {
  if (n > known) return -2;
  for (size_t i = 0; i < n; i++) if (c[i] > view[depth][i]) view[depth][i] = c[i];
  return 0; }
int hitmap_pop(void) { if (!depth) return -1; depth--; return hitmap_merge(view[depth + 1], known); }
size_t hitmap_copy(uint8_t *c, size_t n) { memcpy(c, view[depth], n < known ? n : known); return known; }
int hitmap_restore(const uint8_t *c, size_t n) { if (n > known) return -2; hitmap_reset(); return hitmap_merge(c, n); }
uint32_t listed;
size_t hitmap_modules(struct hitmap_module *out, size_t max) {
  listed++;
  for (size_t m = 0; m < 2 && m < max; m++) {
    memset(&out[m], 0, sizeof out[m]);
    out[m].identity[0] = 0xa0 + build + m; out[m].identity_len = 2; out[m].kind = 3; out[m].first = 4 * m; out[m].edges = 4;
    out[m].hits = count(4 * m, 4 * m + 4);
    strcpy(out[m].path, m ? "/lib/two.so" : "/lib/one.so"); }
  return 2; }
void hitmap_gather(void) {}
void hit(int edge) { view[depth][edge] = 1; }
"""


@pytest.fixture(scope="session")
def runtime(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    (folder / "rt.c").write_text(RUNTIME)
    library = folder / "libhitmap_rt.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-w", "-Wl,-soname,libhitmap_rt.so", folder / "rt.c", "-o", library], check=True
    )
    return library


@pytest.fixture
def python(runtime, tmp_path):
    """Runs a program in a process of its own, into which the stand-in came first."""

    def run(program: str) -> None:
        head = f"import ctypes; rt = ctypes.CDLL({str(runtime)!r}); hit = rt.hit\nimport hitmap\n"
        head += "from hitmap import _native\n_native.load_runtime('/not/there.so')\ncov = hitmap.coverage()\n"
        run = subprocess.run(
            [sys.executable, "-c", head + textwrap.dedent(program)], cwd=tmp_path, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr

    return run


def test_hits_total_and_modules(python):
    python("""
        hit(1); hit(6); hit(7)
        assert (cov.hits, cov.total) == (3, 8)
        one, two = cov.modules
        assert (one.name, one.path, one.identity, one.first, one.edges, one.hits, one.refused) == \\
            ("one.so", "/lib/one.so", "a000", 0, 4, 1, False)
        assert (two.name, two.first, two.hits) == ("two.so", 4, 2)
        cov.reset()
        assert cov.hits == 0
    """)


def test_a_place_is_asked_for_without_listing_the_libraries_each_time(python):
    python("""
        listed = ctypes.c_uint32.in_dll(rt, "listed")

        def ask(edge, error, says):
            before = listed.value
            try:
                cov.where(edge)
            except error as raised:
                assert says in str(raised), raised
            else:
                raise AssertionError(edge)
            return listed.value > before

        assert ask(5, FileNotFoundError, "two.so")
        assert not any(ask(edge, FileNotFoundError, "one.so" if edge < 4 else "two.so") for edge in range(8))
        assert ask(8, IndexError, "from 0 to 7, there is no edge 8"), "a library may have come"
        for edge in (-1, 2**63, 2**64, -(2**70)):
            ask(edge, IndexError, f"no edge {edge}")
        ask("1", TypeError, "whole number")
    """)


def test_record_nests_and_survives_exceptions(python):
    python("""
        hit(0)
        with cov.record() as outer:
            hit(1)
            try:
                with cov.record() as inner:
                    hit(2)
                    1 / 0
            except ZeroDivisionError:
                pass
        assert (inner.hits, outer.hits, cov.hits) == (1, 2, 3)
        assert (inner.total, [m.hits for m in inner.modules]) == (8, [1, 0])
        assert outer.snapshot().hits == 2
    """)


def test_pop_without_push_is_told(python):
    python("""
        try:
            _native.pop()
        except RuntimeError as error:
            assert "pop without push" in str(error)
        else:
            raise AssertionError
    """)


def test_arrays_are_read_only_and_keep_what_they_show(python):
    pytest.importorskip("numpy")
    python("""
        import numpy
        hit(3)
        array = numpy.asarray(cov)
        assert (array.shape, array.dtype, array.flags.writeable) == ((8,), numpy.uint8, False)
        hit(4)
        del cov
        assert array.tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    """)


def test_snapshots_are_sets_of_edges(python):
    python("""
        import copy, pickle
        hit(0); hit(5); a = cov.snapshot()
        cov.reset(); hit(5); hit(6); b = cov.snapshot()
        assert ((a | b).hits, (a & b).hits, (a - b).hits, (a ^ b).hits) == (3, 1, 1, 2)
        assert a | b == b | a == (a | b) | b and a != b and a <= (a | b) >= b and not a <= b
        assert pickle.loads(pickle.dumps(a)) == a == hitmap.Snapshot.from_bytes(a.to_bytes()) == copy.copy(a)
        assert (a.total, [m.name for m in a.modules], [m.hits for m in a.modules]) == (8, ["one.so", "two.so"], [1, 1])
        cov.restore(a)
        assert cov.snapshot() == a
        assert a != 3 and a.created > 0 and a.executions == 0
    """)


def test_snapshots_compare_hash_and_count(python):
    python("""
        hit(0); hit(5); a = cov.snapshot()
        hit(6); b = cov.snapshot()
        cov.reset(); none = cov.snapshot()
        cov.reset(); hit(6); c = cov.snapshot()
        assert none < a < b > a and a <= a and not a < a and not b < a and not a > c
        assert a and not none and not a & c
        assert {a, a | a, b - c, c} == {a, c} and hash(a) == hash(b - c)
        assert hitmap.venn(a, b, c) == [0, 0, 0, 2, 0, 0, 1, 0] and hitmap.venn(a, c) == [0, 2, 1, 0] and hitmap.venn(b) == [0, 3]
        by_module, by_function = hitmap.venn(a, c, by="module"), hitmap.venn(a, c, by="function")
        assert set(by_module) <= {module.name for module in cov.modules} and {name for name, _ in by_function} == set(by_module)
        assert [sum(column) for column in zip(*by_module.values())] == [sum(column) for column in zip(*by_function.values())] == [0, 2, 1, 0]
        for wrong, error in ((lambda: hitmap.venn(), ValueError), (lambda: hitmap.venn(a, b, c, a), ValueError),
                             (lambda: hitmap.venn(a, by="line"), ValueError),
                             (lambda: a | 3, TypeError), (lambda: a < 3, TypeError), (lambda: hitmap.venn(3), TypeError)):
            try:
                wrong()
            except error:
                pass
            else:
                raise AssertionError
    """)


def test_snapshots_show_what_they_hold(python):
    pytest.importorskip("numpy")
    python("""
        import numpy
        hit(1); hit(6); hit(7); snap = cov.snapshot()
        assert repr(snap) == "<snapshot of 3 of 8 edges: two.so 2/4, one.so 1/4>"
        cov.reset()
        assert repr(cov.snapshot()) == "<snapshot of 0 of 8 edges and 2 other libraries>"
        assert "<td>two.so</td><td>2</td><td>4</td><td>50.0 %</td><td><code>a100</code></td>" in snap._repr_html_()
        array = numpy.asarray(snap)
        assert (array.dtype, array.flags.writeable, array.tolist()) == (numpy.uint8, False, [0, 1, 0, 0, 0, 0, 1, 1])
        assert [(m.first, m.edges) for m in snap.modules] == [(0, 4), (4, 4)]
    """)


def test_histories_take_snapshots(python):
    python("""
        hit(0); hit(5); a = cov.snapshot()
        hit(6); b = cov.snapshot()
        history = hitmap.History(a)
        assert (history.hits, history.total, history.snapshot()) == (2, 8, a)
        assert history.update(b) == b - a and not history.update(a)
        assert repr(history) == "<history of 3 of 8 edges>"
        ctypes.c_uint32.in_dll(rt, "build").value = 0x10
        for wrong, error in ((cov.snapshot(), ValueError), (3, AttributeError)):
            try:
                history.update(wrong)
            except error:
                assert history.snapshot() == b
            else:
                raise AssertionError
        try:
            hitmap.isolated(print)
        except OSError as error:
            assert "refused memory" in str(error)
        else:
            raise AssertionError
    """)


def test_files_that_are_wrong_are_named(python):
    python("""
        hit(0)
        snap = cov.snapshot()
        snap.save("a.hitmap")
        assert hitmap.Snapshot.load("a.hitmap") == snap
        open("b.hitmap", "wb").write(open("a.hitmap", "rb").read()[:-1])
        for path, error in [("b.hitmap", ValueError), ("none.hitmap", FileNotFoundError)]:
            try:
                hitmap.Snapshot.load(path)
            except error as e:
                assert path in str(e)
            else:
                raise AssertionError(path)
        try:
            snap.save("/no/such/folder/a.hitmap")
        except OSError as e:
            assert "/no/such/folder/a.hitmap" in str(e)
        else:
            raise AssertionError
    """)


def test_another_build_is_refused_with_both_identities(python):
    python("""
        hit(0)
        ours = cov.snapshot()
        ctypes.c_uint32.in_dll(rt, "build").value = 0x10
        theirs = cov.snapshot()
        for refused in (lambda: ours | theirs, lambda: ours - theirs, lambda: cov.restore(ours)):
            try:
                refused()
            except ValueError as error:
                assert "one.so" in str(error) and "a000" in str(error) and "b000" in str(error)
            else:
                raise AssertionError
    """)


def test_another_abi_is_refused(runtime, tmp_path):
    other = tmp_path / "libhitmap_rt.so"
    source = tmp_path / "rt.c"
    source.write_text(RUNTIME.replace("version = 1", "version = 2"))
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-Wl,-soname,libhitmap_rt.so", source, "-o", other], check=True)
    program = f"import ctypes; ctypes.CDLL({str(other)!r})\nfrom hitmap import _native\n_native.load_runtime('/x.so')"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode != 0 and "speaks ABI 2" in run.stderr


def test_a_runtime_that_cannot_be_loaded_is_an_os_error():
    program = "import hitmap._native as n; n.load_runtime('/not/there.so')"
    head = "import sys, types; sys.modules['hitmap'] = types.ModuleType('hitmap'); import importlib.util as u\n"
    head += f"sys.modules['hitmap'].__path__ = [{str(hitmap.__path__[0])!r}]\n"
    run = subprocess.run([sys.executable, "-c", head + program], capture_output=True, text=True)
    assert "OSError" in run.stderr and "/not/there.so" in run.stderr


def test_without_a_runtime_it_is_told():
    program = "import hitmap._native as n; n.total()"
    head = "import sys, types; sys.modules['hitmap'] = types.ModuleType('hitmap')\n"
    head += f"sys.modules['hitmap'].__path__ = [{str(hitmap.__path__[0])!r}]\n"
    run = subprocess.run([sys.executable, "-c", head + program], capture_output=True, text=True)
    assert "runtime is not loaded" in run.stderr and "reinstall" in run.stderr
    assert _native.__version__
