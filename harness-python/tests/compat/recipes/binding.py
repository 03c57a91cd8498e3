"""memcov's usual binding, as scripts write it on the handle of their own library."""

import ctypes

import steps

_LIB = ctypes.CDLL(steps.__file__)

get_now, get_total, set_now = _LIB.mcov_get_now, _LIB.mcov_get_total, _LIB.mcov_set_now
reset, push, pop = _LIB.mcov_reset, _LIB.mcov_push_coverage, _LIB.mcov_pop_coverage

serialize_mem_coverage = _LIB.serialize_mem_coverage
serialize_mem_coverage.argtypes = [ctypes.POINTER(ctypes.c_size_t)]
serialize_mem_coverage.restype = ctypes.POINTER(ctypes.c_uint8)

deserialize_mem_coverage = _LIB.deserialize_mem_coverage
deserialize_mem_coverage.argtypes = [ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t]
deserialize_mem_coverage.restype = None

# Measured once, when the binding is imported.
_Bytes = ctypes.c_char * get_total()


def get_hitmap():
    data = bytearray(get_total())
    _LIB.mcov_copy_hitmap(_Bytes.from_buffer(data))
    return data


def set_hitmap(data):
    assert len(data) == get_total()
    _LIB.mcov_set_hitmap(_Bytes.from_buffer(data))


def save(path):
    size = ctypes.c_size_t()
    start = serialize_mem_coverage(ctypes.byref(size))
    with open(path, "wb") as file:
        file.write(ctypes.string_at(start, size.value))


def load(path):
    with open(path, "rb") as file:
        data = file.read()
    deserialize_mem_coverage((ctypes.c_uint8 * len(data)).from_buffer_copy(data), len(data))
