"""What a saved map costs: to write, to read, to merge, and on disk."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from peers.keeper import EDGES, HIT, KEEPERS, Keeper, hits
from rows.row import Row

# Calls of one round; the figure is their median. The whole row takes about a second.
CALLS = 21


class Maps(Row):
    """One thing that is done with two maps of different hits."""

    peers = KEEPERS

    def __init__(self, name: str, unit: str, about: str, figure: Callable[[Keeper, Path, int], float]):
        self.name, self.unit = f"map-{name}", unit
        self.about = f"{about}; {EDGES:,} edges, {HIT:,} hit at random"
        self.figure = figure

    def prepare(self) -> None:
        pass

    def once(self, peer: Keeper, seconds: float, seed: int, folder: Path) -> float:
        return self.figure(peer, folder / "map", seed)


def milliseconds(call: Callable[[], object]) -> float:
    def once() -> float:
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3

    return statistics.median(once() for _ in range(CALLS))


def save(keeper: Keeper, path: Path, seed: int) -> float:
    kept = keeper.make(hits(seed))
    return milliseconds(lambda: keeper.save(kept, path))


def load(keeper: Keeper, path: Path, seed: int) -> float:
    keeper.save(keeper.make(hits(seed)), path)
    return milliseconds(lambda: keeper.load(path))


def merge(keeper: Keeper, path: Path, seed: int) -> float:
    a, b = keeper.make(hits(seed)), keeper.make(hits(seed + 1000))
    return milliseconds(lambda: keeper.merge(a, b))


def size(keeper: Keeper, path: Path, seed: int) -> float:
    keeper.save(keeper.make(hits(seed)), path)
    return path.stat().st_size / 1e3


MAPS = [
    Maps("save", "ms", "hitmap syncs and renames, numpy only writes", save),
    Maps("load", "ms", "hitmap checks every byte, numpy none", load),
    Maps("merge", "ms", "two maps in memory", merge),
    Maps("size", "KB", "one file", size),
]
