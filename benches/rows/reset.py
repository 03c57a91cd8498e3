"""What it costs to read and clear the map after a boring run, by `cargo bench -p hitmap-wire`."""

import json
import os
import subprocess
from pathlib import Path

from peers.builder import ROOT, Unavailable
from peers.side import Side
from rows.row import Row

BUILD = ["cargo", "bench", "--quiet", "--locked", "-p", "hitmap-wire", "--bench", "reset", "--no-run"]


class Case(Side):
    def __init__(self, name: str):
        self.name = name

    def install(self) -> None:
        pass

    def version(self) -> str:
        return self.name


class Reset(Row):
    name = "reset"
    unit = "ns a run"
    about = "500 edges were touched, in clusters, and nothing is new; warm"
    turns = 3
    # As `runtime/wire/benches/reset.rs` names them.
    peers = [
        Case("journal, 8 M edges"),
        Case("journal, 100 k edges"),
        Case("sweep of flags and counters, 1 M edges"),
        Case("sweep of flags, 100 k edges"),
        Case("sweep of counters, 100 k edges"),
        Case("sweep of flags and counters, 100 k edges"),
    ]

    def prepare(self) -> None:
        command = [*BUILD, "--message-format=json"]
        built = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
        if built.returncode != 0:
            raise Unavailable(f"failed: {' '.join(command)}\n{built.stderr[-2000:]}")
        messages = map(json.loads, built.stdout.splitlines())
        [self.program] = [path for message in messages if (path := message.get("executable"))]

    def once(self, peer: Side, seconds: float, seed: int, folder: Path) -> float:
        said = subprocess.run([self.program, peer.name], capture_output=True, text=True, check=True).stdout
        nanos, _, name = said.strip().partition("\t")
        assert name == peer.name, said
        return float(nanos)
