"""What a map costs in LibAFL's loop: hitmap's observer and feedback beside LibAFL's own."""

import json
import os
import subprocess
from pathlib import Path

from peers.builder import ROOT, Unavailable
from peers.side import Side
from rows.row import Row

BUILD = ["cargo", "build", "--quiet", "--release", "--locked", "-p", "hitmap-bench-observers"]
TOUCHED, RUNS = 2000, 5000


class Way(Side):
    """One way to read a map, as `benches/observers` names it."""

    def __init__(self, name: str, way: str):
        self.name, self.way = name, way

    def install(self) -> None:
        pass

    def version(self) -> str:
        return self.name


# In the order of the table; the others are divided by the last.
WAYS = [Way("hitmap by journal", "journal"), Way("hitmap by sweep", "sweep"), Way("LibAFL's own", "stock")]


class Observers(Row):
    unit = "ns a run"
    turns = 3
    peers = WAYS

    def __init__(self, name: str, edges: int):
        self.name, self.edges = f"observer-{name}", edges
        self.about = f"LibAFL's loop from reset to verdict; {edges:,} edges, {TOUCHED:,} touched, nothing new"

    def prepare(self) -> None:
        command = [*BUILD, "--message-format=json"]
        built = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
        if built.returncode != 0:
            raise Unavailable(f"failed: {' '.join(command)}\n{built.stderr[-2000:]}")
        messages = map(json.loads, built.stdout.splitlines())
        [self.program] = [path for message in messages if (path := message.get("executable"))]

    def once(self, peer: Way, seconds: float, seed: int, folder: Path) -> float:
        command = [self.program, peer.way, str(self.edges), str(TOUCHED), str(RUNS)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


OBSERVERS = [Observers("64k", 1 << 16), Observers("1m", 1 << 20)]
