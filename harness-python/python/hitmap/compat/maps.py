"""Maps that memcov's users saved, as snapshots.

Three layouts: ``memcov`` (edge i, counted from 1, is bit i % 8 of byte i // 8), ``bitmap`` (the same, counted from 0) and
``bytes`` (a byte an edge, counted from 0). They come as plain bytes, as what ``serialize_mem_coverage`` of the fork gave
(two numbers of four bytes before the map), or pickled, as Tzer's ``cov.pkl`` and NNSmith's ``.memcov.pkl``: bytes, a
bytearray or a numpy array, alone or beside the number of hits. A pickle is taken apart, not executed.

A map does not say whose edges it has. Whoever imports it names the libraries, in the order in which that process loaded
them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import pickletools
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hitmap._native import Module, Snapshot, read_file

__all__ = ["LAYOUTS", "load", "snapshot"]

# The largest file that is read, in bytes: a map of half a billion edges, twice.
LARGEST = 1 << 30

LAYOUTS = ("memcov", "bitmap", "bytes")

# What builds numbers, bytes, tuples, lists and dicts; and the calls, which reach nothing but the stand-ins below.
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET NONE NEWTRUE NEWFALSE "
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL REDUCE BUILD".split()
)


def load(path: str | os.PathLike[str], libraries: Sequence[str | os.PathLike[str]], layout: str = "memcov") -> Snapshot:
    """Reads a saved map; `libraries` are the files whose edges it has, in the order in which they were loaded.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it holds no such map; the text names the file.
    """
    path = Path(path)
    try:
        return snapshot(read_file(path, LARGEST), libraries, layout)
    except OSError as error:
        raise ValueError(str(error)) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def snapshot(data: bytes, libraries: Sequence[str | os.PathLike[str]], layout: str = "memcov") -> Snapshot:
    """The snapshot of a saved map's bytes; see `load`.

    Raises:
        ValueError: when they are no such map, and for a library without coverage.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"no layout is called {layout!r}; there are {', '.join(LAYOUTS)}")
    modules: list[Module] = []
    total = 0
    for library in libraries:
        modules.append(Module.of_file(library, total))
        total += modules[-1].edges
    if not modules:
        raise ValueError("a map does not say whose edges it has: name the libraries")
    bits, hits = _unwrapped(data)
    classes = _classes(bits, total, layout)
    if hits is not None and hits != (found := total - classes.count(0)):
        raise ValueError(f"it says {hits} edges, and {found} of these libraries' are hit: name the same builds, in order")
    return Snapshot.of(modules, classes)


def _classes(bits: bytes, total: int, layout: str) -> bytes:
    """A class for each edge: 1 for a hit, since a bit does not say how often."""
    if layout == "bytes":
        if len(bits) != total:
            raise ValueError(f"it has {len(bits)} bytes, and the libraries have {total} edges")
        return bits.translate(bytes([0] + [1] * 255))
    first = 1 if layout == "memcov" else 0
    # memcov's own storage has no room for the last edge when their number is a multiple of 8; its Python helper hands
    # out as many bytes as there are edges.
    sizes = {(total + 7) // 8, (total + first + 7) // 8, total}
    if len(bits) not in sizes:
        raise ValueError(
            f"it has {len(bits)} bytes, and the libraries have {total} edges, which take {(total + 7) // 8}, or {total} "
            "as Python's helper has it: name the same builds, or another layout"
        )
    classes = bytearray(total)
    for at, byte in enumerate(bits):
        if byte == 0:
            continue
        for bit in range(8):
            if byte >> bit & 1:
                edge = at * 8 + bit - first
                if not 0 <= edge < total:
                    raise ValueError(f"bit {at * 8 + bit} is set, and the libraries have {total} edges: another layout?")
                classes[edge] = 1
    return bytes(classes)


def _unwrapped(data: bytes) -> tuple[bytes, int | None]:
    """The map itself, and the number of hits when it stands beside."""
    if data.startswith(b"hitmap"):
        raise ValueError("it is hitmap's own, with identities; pass it to `hitmap merge`, or deserialize_mem_coverage")
    if data[:1] == b"\x80" and data[1:2] <= bytes([pickle.HIGHEST_PROTOCOL]) and data[-1:] == b".":
        return _found(_unpickled(data))
    if data[:1] in (b"c", b"(", b"]", b"}") and data[-1:] == b".":
        return _found(_unpickled(data))
    if len(data) >= 8:
        hits, size = struct.unpack_from("<II", data)
        if size == len(data) - 8 and hits == int.from_bytes(data[8:], "little").bit_count():
            return data[8:], hits
    return data, None


def _found(value: object) -> tuple[bytes, int | None]:
    """The one map in what was pickled, and the number beside it."""
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else [value]
    maps = [bytes(part) for part in parts if isinstance(part, (bytes, bytearray, _Bytes, _Array))]
    numbers = [part for part in parts if isinstance(part, int) and not isinstance(part, bool)]
    if len(maps) != 1 or len(numbers) > 1:
        raise ValueError(f"it is a pickle with {len(maps)} maps and {len(numbers)} numbers; one map, and the hits, is read")
    return maps[0], numbers[0] if numbers else None


def _unpickled(data: bytes) -> object:
    """The value of a pickle that holds nothing but plain data."""
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name not in _OPCODES:
                raise _Refused(f"a pickle with the instruction {opcode.name} is more than a map, and is not read")
            # A number of a memo's slot is an allocation.
            if "PUT" in opcode.name and int(argument) > len(data):
                raise _Refused("the pickle is damaged")
        return _Unpickler(io.BytesIO(data)).load()
    except _Refused:
        raise
    except Exception as error:
        raise _Refused(f"the pickle is damaged ({error})") from None


class _Refused(ValueError):
    """A pickle that is no map, in a sentence."""


class _Unpickler(pickle.Unpickler):
    """Knows the names by which bytes and numpy arrays are pickled, and makes stand-ins of them."""

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is None:
            raise _Refused(f"the pickle asks for {module}.{name}, which no map needs; it is not read")
        return known


class _Bytes(bytes):
    """Bytes, or a bytearray."""

    def __new__(cls, of: object = b"", encoding: object = None) -> _Bytes:
        if isinstance(of, str) and encoding in ("latin-1", "latin1"):
            return super().__new__(cls, of.encode("latin-1"))
        if isinstance(of, (bytes, bytearray)) and encoding is None:
            return super().__new__(cls, of)
        raise _Refused("the pickle is damaged: bytes of something else")


class _Dtype:
    """A numpy type, by its name."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """A numpy array of one byte an element, as its bytes."""

    def __init__(self, *_: object) -> None:
        self.raw = b""

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _, shape, dtype, _, raw = state
        self.fill(raw, dtype, shape)

    def fill(self, raw: object, dtype: object, shape: object) -> _Array:
        if not isinstance(dtype, _Dtype) or dtype.name not in ("u1", "i1", "b1", "|u1", "|i1", "|b1"):
            raise _Refused(f"the pickled array is of {getattr(dtype, 'name', '?')}, and a map is of single bytes")
        if not isinstance(raw, (bytes, bytearray)) or not isinstance(shape, tuple) or shape != (len(raw),):
            raise _Refused(f"the pickled array has shape {shape}, and a map has one dimension")
        self.raw = bytes(raw)
        return self

    def __bytes__(self) -> bytes:
        return self.raw


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> _Array:
    return _Array().fill(raw, dtype, shape)


_KNOWN: dict[tuple[str, str], Callable[..., object]] = {
    # Python 2 had another name for the module.
    **{(module, name): _Bytes for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray")},
    ("_codecs", "encode"): _Bytes,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    # numpy moved what rebuilds its arrays.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


def main(words: Sequence[str] | None = None) -> int:
    """`hitmap import`."""
    parser = _Parser(
        prog="hitmap import", description="Makes a snapshot of maps that memcov's users saved: the edges of any of them.",
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("maps", nargs="+", metavar="MAP", help="cov.pkl, .memcov.pkl, serialized coverage, or plain bytes")
    parser.add_argument("-l", "--library", action="append", required=True, metavar="FILE",
                        help="a library whose edges the maps have; several in the order in which they were loaded")  # fmt: skip
    parser.add_argument("-o", "--out", required=True, metavar="OUT.hitmap", help="the snapshot to write")
    parser.add_argument("--layout", choices=LAYOUTS, default=LAYOUTS[0],
                        help="bits from 1 (memcov), bits from 0 (bitmap), or a byte an edge from 0 (bytes)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args(words)
    try:
        union = load(asked.maps[0], asked.library, asked.layout)
        for path in asked.maps[1:]:
            union |= load(path, asked.library, asked.layout)
        union.save(asked.out)
    except (OSError, ValueError) as error:
        print(f"hitmap: {error}", file=sys.stderr)
        return _USAGE
    if asked.json:
        print(json.dumps({"out": asked.out, "maps": len(asked.maps), "hits": union.hits, "edges": union.total}))
    else:
        print(f"{asked.out}: {union.hits:,} of {union.total:,} edges")
    return 0


_USAGE = 4
_EXAMPLES = """\
examples:
  hitmap import cov.pkl --library libtvm.so -o tzer.hitmap
  hitmap import *.memcov.pkl -l libtvm_runtime.so -l libtvm.so -o nnsmith.hitmap

The libraries must be the builds that were measured. Pickles are taken apart, not executed.
"""


class _Parser(argparse.ArgumentParser):
    """argparse ends with 2 on wrong usage; hitmap's commands end with 4."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(_USAGE, f"{self.prog}: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
