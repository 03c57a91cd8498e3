# distutils: language = c++
# cython: language_level = 3, boundscheck = False, wraparound = False
"""Cython, and mistakes that are only made with it."""

cdef extern from "library.h":
    int library_run(const char *text, size_t len) except +*
    int library_run_in_thread(const char *text, size_t len) except +*


cdef extern from *:
    """
    extern "C" PyObject *PyInit_cythonized(void);
    extern "C" __attribute__((visibility("default"))) PyObject *PyInit__native(void) { return PyInit_cythonized(); }
    static long *volatile no_cells = nullptr;
    """
    long *no_cells


cdef long reads(long value) except? -7:
    return no_cells[value % 8]


cdef long writes(long value) except? -7:
    no_cells[value % 8] = value
    return 1


cdef long raises_a(long value) except? -7:
    if value >= 0:
        raise ValueError(f"no number {value}")
    return 1


cdef long raises_b(long value) except? -7:
    if value >= 0:
        raise ValueError(f"no list {value}")
    return 1


def run(bytes data):
    words = data.split()
    if words[0] == b"binding_a":
        return reads(int(words[4]))
    if words[0] == b"binding_b":
        return writes(int(words[4]))
    if words[0] == b"binding_throw_a":
        return raises_a(int(words[4]))
    if words[0] == b"binding_throw_b":
        return raises_b(int(words[4]))
    library_run(data, len(data))


def run_in_thread(bytes data):
    library_run_in_thread(data, len(data))
