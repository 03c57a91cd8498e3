"""What a map costs in LibAFL's loop: hitmap's observer and feedback beside LibAFL's own."""

import subprocess
from pathlib import Path

from peers.builder import program
from peers.side import Way
from rows.row import Row

TOUCHED, RUNS = 2000, 5000


# As `benches/observers` names them, in the order of the table; the others are divided by the last.
WAYS = [
    Way("hitmap, guards", "journal"),
    Way("hitmap, inline counters", "counters"),
    Way("hitmap, inline counters and flags", "flags"),
    Way("LibAFL's own", "stock"),
]


class Observers(Row):
    unit = "ns a run"
    turns = 3
    peers = WAYS

    def __init__(self, name: str, edges: int):
        self.name, self.edges = f"observer-{name}", edges
        self.about = f"LibAFL's loop from reset to verdict; {edges:,} edges, {TOUCHED:,} touched, nothing new"

    def prepare(self) -> None:
        self.program = program("build", "--release", "-p", "hitmap-bench-observers")

    def once(self, peer: Way, seconds: float, seed: int, folder: Path) -> float:
        command = [self.program, peer.way, str(self.edges), str(TOUCHED), str(RUNS)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


OBSERVERS = [Observers("64k", 1 << 16), Observers("1m", 1 << 20)]
