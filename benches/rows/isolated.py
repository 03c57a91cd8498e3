"""What a run in a child costs beside the function itself: `hitmap.isolated` against Tzer's way."""

import os
import subprocess
import sys
from pathlib import Path

from peers.builder import CLANG, HOME, ROOT, called
from peers.side import Way
from rows.row import Row

FOLDER = ROOT / "benches" / "isolated"
LIBRARY = HOME / "isolated" / "large.so"


class Isolated(Row):
    unit = "ms a run"
    turns = 3
    peers = [
        Way("hitmap.isolated, History", "isolated"),
        Way("Process, Manager, the map copied twice (Tzer's way, hitmap's runtime)", "manager"),
    ]

    def __init__(self, clock: str, column: int):
        self.name, self.column = f"isolated-{clock.lower()}", column
        self.about = f"{clock} time of one run in a forked child, all processes; 1,439,121 guards, 20,000 run"

    def prepare(self) -> None:
        LIBRARY.parent.mkdir(parents=True, exist_ok=True)
        called([CLANG, "-O2", "-fPIC", "-shared", FOLDER / "large.c", "-o", LIBRARY], os.environ)

    def once(self, peer: Way, seconds: float, seed: int, folder: Path) -> float:
        command = [sys.executable, FOLDER / "measure.py", LIBRARY, peer.way]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return float(said.split()[self.column])


ISOLATED = [Isolated("CPU", 0), Isolated("wall", 1)]
