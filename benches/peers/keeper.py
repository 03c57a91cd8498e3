"""Ways to keep the map of a large library in files: hitmap's snapshots, and arrays as memcov's users keep them.

Every keeper gets the same hits. numpy has them as memcov's bitmap, a bit an edge, and as Tzer's `get_hitmap` gives it:
the same bits in as many bytes as there are edges.
"""

import os
from abc import abstractmethod
from pathlib import Path
from typing import Any

import hitmap
import numpy
from hitmap.compat import maps
from peers.builder import CLANG, HOME, called
from peers.side import Side

EDGES = 3_100_000
HIT = 70_000
LIBRARY = HOME / "maps" / "libmap.so"


def hits(seed: int) -> bytes:
    """A map of random hits, as memcov has it. Neighbours would pack better."""
    dense = numpy.zeros(EDGES + 1, bool)
    dense[1 + numpy.random.default_rng(seed).choice(EDGES, HIT, replace=False)] = True
    return numpy.packbits(dense, bitorder="little").tobytes()


class Keeper(Side):
    """A way to keep a map."""

    def install(self) -> None:
        """Makes a library that has the edges and nothing else: a map on its own says nothing of whose it is."""
        LIBRARY.parent.mkdir(parents=True, exist_ok=True)
        source = LIBRARY.with_suffix(".s")
        source.write_text(f'.section __sancov_guards,"aw",@nobits\n.zero {4 * EDGES}\n')
        called([CLANG, "-shared", "-nostdlib", "-Wl,--build-id", source, "-o", LIBRARY], os.environ)

    @abstractmethod
    def make(self, bits: bytes) -> Any:
        """The map in memory."""

    @abstractmethod
    def save(self, kept: Any, path: Path) -> None:
        """Writes it."""

    @abstractmethod
    def load(self, path: Path) -> Any:
        """Reads it."""

    @abstractmethod
    def merge(self, a: Any, b: Any) -> Any:
        """The edges of either."""


class Snapshots(Keeper):
    name = "hitmap"

    def version(self) -> str:
        return f"hitmap {hitmap.__version__}"

    def make(self, bits: bytes) -> hitmap.Snapshot:
        return maps.snapshot(bits, [LIBRARY])

    def save(self, kept: hitmap.Snapshot, path: Path) -> None:
        kept.save(path)

    def load(self, path: Path) -> hitmap.Snapshot:
        return hitmap.Snapshot.load(path)

    def merge(self, a: hitmap.Snapshot, b: hitmap.Snapshot) -> hitmap.Snapshot:
        return a | b


class Bits(Keeper):
    name = "numpy, bits"

    def version(self) -> str:
        return f"numpy {numpy.__version__}, memcov's bits"

    def make(self, bits: bytes) -> numpy.ndarray:
        return numpy.frombuffer(bits, numpy.uint8).copy()

    def save(self, kept: numpy.ndarray, path: Path) -> None:
        with path.open("wb") as file:
            numpy.save(file, kept)

    def load(self, path: Path) -> numpy.ndarray:
        return numpy.load(path)

    def merge(self, a: numpy.ndarray, b: numpy.ndarray) -> numpy.ndarray:
        return numpy.bitwise_or(a, b)


class Padded(Bits):
    name = "numpy, bytes"

    def version(self) -> str:
        return f"numpy {numpy.__version__}, as Tzer keeps them"

    def make(self, bits: bytes) -> numpy.ndarray:
        return numpy.frombuffer(bits.ljust(EDGES, b"\0"), numpy.uint8).copy()


KEEPERS = [Snapshots(), Padded(), Bits()]
