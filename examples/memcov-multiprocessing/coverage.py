"""memcov's calls on the library's own handle. hitmap need not be imported: the library brings its runtime."""

import ctypes
import os

_LIB = ctypes.CDLL(os.environ.get("MODEL", "build/libmodel.so"))

compile_model = _LIB.compile_model

reset = _LIB.mcov_reset
push = _LIB.mcov_push_coverage
pop = _LIB.mcov_pop_coverage
get_now = _LIB.mcov_get_now
get_total = _LIB.mcov_get_total

_LIB.serialize_mem_coverage.restype = ctypes.c_void_p
_LIB.serialize_mem_coverage.argtypes = [ctypes.c_void_p]
_LIB.deserialize_mem_coverage.restype = None
_LIB.deserialize_mem_coverage.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def serialize():
    """The coverage of this process, as bytes."""
    size = ctypes.c_size_t()
    return ctypes.string_at(_LIB.serialize_mem_coverage(ctypes.byref(size)), size.value)


def merge(data):
    """Adds what another process serialized."""
    _LIB.deserialize_mem_coverage(data, len(data))
