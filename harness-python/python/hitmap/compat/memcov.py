"""memcov's interface.

Scripts that define the calls themselves on the handle of their own library (``_LIB.mcov_get_now``) need nothing from
here: a library that links the CMake target ``memcov`` has them. Otherwise `lib` gives a handle that stands for
``_LIB``, and this module has the names of the usual binding, for the runtime of this process::

    from hitmap.compat import memcov as coverage

    coverage.reset()
    run()
    print(coverage.get_now(), "of", coverage.get_total())

`load` gives the same names for another handle, and `Memcov` those of the ``bitmap`` branch.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import hitmap as _hitmap

__all__ = [
    "Coverage",
    "Memcov",
    "cmake_dir",
    "deserialize_mem_coverage",
    "get_hitmap",
    "get_now",
    "get_total",
    "lib",
    "load",
    "pop",
    "push",
    "reset",
    "serialize_mem_coverage",
    "set_hitmap",
    "set_now",
]

_SONAME = "libhitmap_rt.so"

# (result, arguments). Buffers are c_void_p: POINTER(c_uint8) refuses the char arrays that scripts pass.
_SIGNATURES = {
    "mcov_get_now": (ctypes.c_size_t, []),
    "mcov_get_total": (ctypes.c_size_t, []),
    "mcov_set_now": (None, [ctypes.c_size_t]),
    "mcov_reset": (None, []),
    "mcov_push_coverage": (None, []),
    "mcov_pop_coverage": (None, []),
    "mcov_copy_hitmap": (None, [ctypes.c_void_p]),
    "mcov_set_hitmap": (None, [ctypes.c_void_p]),
    "mcov_get_hitbits": (ctypes.c_size_t, []),
    "mcov_set_hitbits": (None, [ctypes.c_size_t]),
    "mcov_reset_bitmap": (None, []),
    "mcov_get_bitmap_bytes": (ctypes.c_size_t, []),
    "mcov_copy_bitmap": (None, [ctypes.c_void_p]),
    "mcov_set_bitmap": (None, [ctypes.c_void_p]),
    "serialize_mem_coverage": (ctypes.c_void_p, [ctypes.c_void_p]),
    "deserialize_mem_coverage": (None, [ctypes.c_void_p, ctypes.c_size_t]),
}


def lib(path_or_cdll: str | os.PathLike[str] | ctypes.CDLL | None = None) -> ctypes.CDLL:
    """A ctypes handle with memcov's calls, their argument and result types set.

    Without an argument it is the runtime of this process, which serves every instrumented library in it. A path is
    loaded; a handle is returned as it is, with types set.

    Raises:
        OSError: when the library cannot be loaded, or does not have memcov's calls.
    """
    if isinstance(path_or_cdll, ctypes.CDLL):
        handle = path_or_cdll
    elif path_or_cdll is None:
        # Importing hitmap brought the runtime, unless a library had brought one; a second one would count nothing.
        _hitmap.coverage()
        handle = ctypes.CDLL(_SONAME, mode=os.RTLD_NOLOAD | ctypes.RTLD_GLOBAL)
    else:
        handle = ctypes.CDLL(os.fspath(path_or_cdll))
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(handle, name)
        except AttributeError:
            raise OSError(
                f"{handle._name} has no {name}: link it with the CMake target memcov, or call lib() without an "
                "argument for the runtime of this process"
            ) from None
        function.restype, function.argtypes = result, arguments
    return handle


class Coverage:
    """The usual binding of memcov, over one handle."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        self._lib = handle

    def get_now(self) -> int:
        """Edges hit since the last reset, push or set."""
        return self._lib.mcov_get_now()

    def get_total(self) -> int:
        """Edges known now; grows when an instrumented library is loaded."""
        return self._lib.mcov_get_total()

    def set_now(self, now: int) -> None:
        """Overrides the number until the next `set_hitmap`, `reset`, `push` or `pop`; new edges add to it."""
        self._lib.mcov_set_now(now)

    def reset(self) -> None:
        """Forgets all hits of this process."""
        self._lib.mcov_reset()

    def push(self) -> None:
        """Puts the map aside and starts an empty one; nests without limit."""
        self._lib.mcov_push_coverage()

    def pop(self) -> None:
        """Merges the map that was put aside last."""
        self._lib.mcov_pop_coverage()

    def get_hitmap(self) -> bytearray:
        """The map: edge i, counted from 1, is bit i % 8 of byte i // 8. Has `get_total` bytes, the rest 0."""
        buffer = bytearray(self.get_total())
        self._lib.mcov_copy_hitmap((ctypes.c_char * len(buffer)).from_buffer(buffer))
        return buffer

    def set_hitmap(self, data: bytes | bytearray | memoryview) -> None:
        """Replaces the map, and with it the number of hits.

        Raises:
            ValueError: when `data` has not `get_total` bytes.
        """
        total = self.get_total()
        if len(data) != total:
            raise ValueError(f"the map has {total} bytes, not {len(data)}: load the same libraries in the same order")
        self._lib.mcov_set_hitmap((ctypes.c_char * total).from_buffer_copy(data))

    def serialize_mem_coverage(self) -> bytes:
        """The coverage of this process, for `deserialize_mem_coverage` in another."""
        size = ctypes.c_size_t()
        address = self._lib.serialize_mem_coverage(ctypes.byref(size))
        return ctypes.string_at(address, size.value)

    def deserialize_mem_coverage(self, data: bytes) -> None:
        """Merges what another process serialized."""
        self._lib.deserialize_mem_coverage((ctypes.c_char * len(data)).from_buffer_copy(data), len(data))


class Memcov:
    """The ``bitmap`` branch's names, over a path or a handle."""

    def __init__(self, path_or_cdll: str | os.PathLike[str] | ctypes.CDLL | None = None) -> None:
        handle = lib(path_or_cdll)
        self.get_hitbits = handle.mcov_get_hitbits
        self.set_hitbits = handle.mcov_set_hitbits
        self.reset_bitmap = handle.mcov_reset_bitmap
        self.get_bitmap_bytes = handle.mcov_get_bitmap_bytes
        self._lib = handle

    def get_hitmap_buffer(self) -> bytearray:
        """The map: edge i, counted from 0, is bit i % 8 of byte i // 8."""
        buffer = bytearray(self.get_bitmap_bytes())
        self._lib.mcov_copy_bitmap((ctypes.c_char * len(buffer)).from_buffer(buffer))
        return buffer

    def set_hitmap_buffer(self, data: bytes | bytearray | memoryview) -> None:
        """Replaces the map, and with it the number of hits.

        Raises:
            ValueError: when `data` has not `get_bitmap_bytes` bytes.
        """
        size = self.get_bitmap_bytes()
        if len(data) != size:
            raise ValueError(f"the map has {size} bytes, not {len(data)}: load the same libraries in the same order")
        self._lib.mcov_set_bitmap((ctypes.c_char * size).from_buffer_copy(data))


def load(path_or_cdll: str | os.PathLike[str] | ctypes.CDLL | None = None) -> Coverage:
    """The usual binding for the handle that `lib` gives."""
    return Coverage(lib(path_or_cdll))


def cmake_dir() -> str:
    """The folder of the CMake package: what ``-Dhitmap_DIR=`` takes, for ``find_package(hitmap)``."""
    return str(Path(__file__).parent / "cmake")


# The binding's own names, for the runtime of this process.
_own = load()
get_now = _own.get_now
get_total = _own.get_total
set_now = _own.set_now
reset = _own.reset
push = _own.push
pop = _own.pop
get_hitmap = _own.get_hitmap
set_hitmap = _own.set_hitmap
serialize_mem_coverage = _own.serialize_mem_coverage
deserialize_mem_coverage = _own.deserialize_mem_coverage
