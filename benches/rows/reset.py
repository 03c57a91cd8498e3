"""What it costs to read and clear the map after a boring run, by `cargo bench -p hitmap-wire`."""

import subprocess
from pathlib import Path

from peers.builder import program
from peers.side import Way
from rows.row import Row

# As `runtime/wire/benches/reset.rs` names them.
CASES = [
    "journal, 8 M edges",
    "journal, 100 k edges",
    "sweep of flags and counters, 1 M edges",
    "sweep of flags, 100 k edges",
    "sweep of counters, 100 k edges",
    "sweep of flags and counters, 100 k edges",
]


class Reset(Row):
    name = "reset"
    unit = "ns a run"
    about = "500 edges were touched, in clusters, and nothing is new; warm"
    turns = 3
    peers = [Way(case, case) for case in CASES]

    def prepare(self) -> None:
        self.program = program("bench", "-p", "hitmap-wire", "--bench", "reset", "--no-run")

    def once(self, peer: Way, seconds: float, seed: int, folder: Path) -> float:
        said = subprocess.run([self.program, peer.way], capture_output=True, text=True, check=True).stdout
        nanos, _, name = said.strip().partition("\t")
        assert name == peer.way, said
        return float(nanos)
