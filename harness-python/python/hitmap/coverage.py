"""Live coverage of this process: what ran inside its instrumented libraries.

Edges are numbered densely from 0, library after library in the order in which they were loaded; a map is one byte an
edge, its hit class (0, or 1, 2, 4, ... 128: AFL's count buckets). Everything here is about this process alone: a
forked child has a copy, and an engine that watches the process from outside keeps a history of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hitmap import _native
from hitmap._native import Module, Place, Snapshot

__all__ = ["Coverage", "Delta", "Module", "Place", "Snapshot", "coverage"]


class Delta:
    """What was hit inside a ``with cov.record() as delta`` block; empty until the block ends."""

    def __init__(self) -> None:
        self.modules: list[Module] = []
        self._classes = b""

    @property
    def hits(self) -> int:
        """Edges that were hit."""
        return len(self._classes) - self._classes.count(0)

    @property
    def total(self) -> int:
        """Edges that were known when the block ended."""
        return len(self._classes)

    def snapshot(self) -> Snapshot:
        """A copy that can be saved, merged and compared."""
        return Snapshot.of(self.modules, self._classes)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return _as_array(self._classes)

    def __repr__(self) -> str:
        return f"<{self.hits} of {self.total} edges>"


class Coverage:
    """This process's view of its coverage. All objects of this class show the same view."""

    @property
    def hits(self) -> int:
        """Edges hit since the last `reset` or `restore`, or inside the innermost `record`."""
        return _native.hits()

    @property
    def total(self) -> int:
        """Edges known now; grows when an instrumented library is imported."""
        return _native.total()

    @property
    def modules(self) -> list[Module]:
        """The instrumented libraries of this process, in the order of their edges."""
        return _native.modules()

    def where(self, edge: int) -> Place:
        """Function, file and line of an edge, read from the library's file and its debug information.

        The same edge in another process or a saved snapshot: `Module.where`, by the number within the library.

        Raises:
            IndexError: when there is no such edge.
            OSError: when the library's file cannot be read.
            ValueError: when it is another build by now, or was compiled without `pc-table`.
        """
        return _native.place(edge)

    def reset(self) -> None:
        """Forgets all hits."""
        _native.reset()

    @contextmanager
    def record(self) -> Iterator[Delta]:
        """Collects what is hit inside the block; nests without limit.

        Afterwards the delta holds it, and it counts for the view outside as well, also when the block raises.
        """
        delta = Delta()
        _native.push()
        try:
            yield delta
        finally:
            delta.modules = _native.modules()
            delta._classes = _native.copy()
            _native.pop()

    def snapshot(self) -> Snapshot:
        """A copy of the view that can be saved, merged and compared."""
        classes = _native.copy()
        return Snapshot.of(_native.modules(), classes)

    def restore(self, snapshot: Snapshot) -> None:
        """Replaces the view by a snapshot; edges that it lacks are not hit.

        Raises:
            ValueError: when the snapshot has hits in a library that is not loaded here, or in another build of one.
        """
        _native.restore(snapshot.classes(_native.modules()))

    @property
    def __array_interface__(self) -> dict[str, Any]:
        # numpy.asarray(cov): shape (total,), dtype uint8, read-only, as of this moment.
        return _as_array(_native.copy())

    def __repr__(self) -> str:
        return f"<{self.hits} of {self.total} edges>"


def coverage() -> Coverage:
    """Live coverage of this process.

    Raises:
        RuntimeError: when this installation has no runtime.
    """
    _native.total()
    return Coverage()


def _as_array(classes: bytes) -> dict[str, Any]:
    # The array keeps the bytes object alive, so it outlives what it was made from.
    return {"version": 3, "shape": (len(classes),), "typestr": "|u1", "data": classes}
