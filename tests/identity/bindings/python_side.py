"""Mistakes in Python code above a native library, which `python_harness.py` calls by name."""

import os
import sys
import time


def raise_line(first, value):
    if first:
        raise LookupError(f"no entry {value}")
    raise LookupError(f"no entry {value}")


def py_raise_a(value):
    raise_line(True, value)


def py_raise_b(value):
    raise_line(False, value)


def checks(value):
    assert value < 0, f"{value} is not negative"


def py_assert(value):
    checks(value)


# ---- one exception because of another ----------------------------------------------------------


def reads_header(value):
    raise KeyError(f"header {value}")


def reads_body(value):
    raise IndexError(f"body {value}")


def needs_memory(value):
    raise MemoryError(f"{value} bytes")


def wraps(inner, value):
    try:
        inner(value)
    except Exception as error:
        raise RuntimeError("cannot load") from error


def py_cause_a(value):
    wraps(reads_header, value)


def py_cause_b(value):
    wraps(reads_body, value)


def py_cause_memory(value):
    wraps(needs_memory, value)


def wraps_twice(inner, value):
    try:
        wraps(inner, value)
    except RuntimeError as error:
        raise SystemError("call failed") from error


def py_root_a(value):
    wraps_twice(reads_header, value)


def py_root_b(value):
    wraps_twice(reads_body, value)


def cleans_up():
    raise OSError("cannot clean up")


def py_context(value):
    """Handled, whichever it was; then another thing fails, and that is the bug."""
    try:
        (reads_header if value % 2 else reads_body)(value)
    except LookupError:
        cleans_up()


def hides(inner, value):
    try:
        inner(value)
    except LookupError:
        raise BufferError("no data") from None


def py_hidden(value):
    """`from None` says that what was handled is of no interest."""
    hides(reads_header if value % 2 else reads_body, value)


# ---- recursion that Python ends ----------------------------------------------------------------


def walks_list(depth, value):
    return leaf_x(depth) + walks_list(depth + 1, value) if (depth + value) % 3 else walks_list(depth + 1, value)


def leaf_x(depth):
    return int(str(depth))


def walks_tree(depth):
    return walks_tree(depth + 1) + 1


def opens(depth, value):
    return closes(depth + 1, value) if (depth * value) % 5 else opens(depth + 1, value)


def closes(depth, value):
    return opens(depth + 1, value) if (depth + value) % 3 else closes(depth + 1, value)


def py_recurse_a(value):
    walks_list(0, value)


def py_recurse_b(value):
    walks_tree(value)


def py_recurse_shapes(value):
    opens(0, value)


# ---- ends --------------------------------------------------------------------------------------


def exits(first):
    if first:
        sys.exit(4)
    sys.exit(4)


def py_exit_a(value):
    exits(True)


def py_exit_b(value):
    exits(False)


def py_leave_a(value):
    os._exit(5)


def py_leave_b(value):
    os._exit(5)


def py_abort_a(value):
    os.abort()


def py_abort_b(value):
    os.abort()


# ---- memory ------------------------------------------------------------------------------------


def py_memory_a(value):
    return bytearray((6 << 30) + value)


def py_memory_b(value):
    return [value] * (1 << 30)


# ---- no end ------------------------------------------------------------------------------------


def spins_in_python_a():
    while True:
        pass


def spins_in_python_b():
    while True:
        int("7")


def py_spin_a(value):
    spins_in_python_a()


def py_spin_b(value):
    spins_in_python_b()


def calls_without_end(native, value):
    """Each call is short. Where in them a look falls is chance."""
    while True:
        native.run(b"short_call 0 0 0 1")
        native.run(b"short_call 1 0 5 2")
        native.run(b"jumps_back 0 0 0 1")


def py_calls(value, native):
    calls_without_end(native, value)


def py_sleep(value):
    time.sleep(1000 + value)
