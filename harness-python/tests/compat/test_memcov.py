"""hitmap.compat.memcov: the handle that stands for a script's own, and the usual binding."""

import ctypes
import os
import subprocess
import sys

import pytest

from hitmap.compat import memcov


@pytest.fixture
def beside(extension):
    """Runs a script that may import hitmap beside the extension."""

    def start(text):
        done = subprocess.run([sys.executable, "-c", text], env={**os.environ, "PYTHONPATH": str(extension)},
                              capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    return start


@pytest.mark.parametrize("handle", ["", "steps.__file__", "ctypes.CDLL(steps.__file__)"])
def test_every_way_to_a_handle_shows_the_same_map(beside, handle):
    assert beside(f"""
import ctypes, steps
from hitmap.compat import memcov
import hitmap
_LIB = memcov.lib({handle})
_LIB.mcov_reset()
steps.step(3)
assert (_LIB.mcov_get_now(), _LIB.mcov_get_total(), hitmap.coverage().hits) == (1, 16, 1)
size = ctypes.c_size_t()
start = _LIB.serialize_mem_coverage(ctypes.byref(size))
assert size.value == 8 + 3 and ctypes.string_at(start, 4) == bytes([1, 0, 0, 0])
for array in (ctypes.c_char * 16, ctypes.c_uint8 * 16):
    _LIB.mcov_copy_hitmap(array.from_buffer(bytearray(16)))
print("done")
""") == "done\n"


def test_the_module_is_a_binding(beside):
    assert beside("""
import steps
from hitmap.compat import memcov as coverage
coverage.reset(), coverage.push()
steps.step(3)
data = coverage.get_hitmap()
assert len(data) == coverage.get_total() == 16
saved = coverage.serialize_mem_coverage()
coverage.pop(), coverage.reset()
coverage.set_hitmap(bytes(data))
assert coverage.get_now() == 1
coverage.reset(), steps.step(4)
coverage.deserialize_mem_coverage(saved)
assert coverage.get_now() == 2
coverage.set_now(7)
assert coverage.get_now() == 7
bits = memcov = coverage.Memcov()
data = bits.get_hitmap_buffer()
assert bytes(data) == bytes([0b11000, 0])
bits.reset_bitmap(), bits.set_hitmap_buffer(data)
assert bits.get_hitbits() == 2
print("done")
""") == "done\n"


def test_a_map_of_another_size_is_refused():
    with pytest.raises(ValueError, match="bytes"):
        memcov.set_hitmap(bytes(memcov.get_total() + 1))


def test_a_library_without_the_calls_is_named_with_the_remedy():
    with pytest.raises(OSError, match="target memcov"):
        memcov.lib(ctypes.CDLL(None) if not hasattr(ctypes.CDLL(None), "mcov_get_now") else "libm.so.6")
