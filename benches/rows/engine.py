"""Parts of hitmap's engine beside the parts of LibAFL whose place they take."""

import subprocess
from pathlib import Path

from peers.builder import program
from peers.side import Way
from rows.row import Row

# As `benches/engine` names them.
WAYS = [Way("hitmap", "hitmap"), Way("LibAFL's own", "stock")]


class Part(Row):
    turns = 3
    peers = WAYS

    def __init__(self, part: str, unit: str, about: str):
        self.name, self.part, self.unit, self.about = f"engine-{part}", part, unit, about

    def prepare(self) -> None:
        self.program = program("build", "--release", "-p", "hitmap-bench-engine")

    def once(self, peer: Way, seconds: float, seed: int, folder: Path) -> float:
        command = [self.program, self.part, peer.way, str(seed)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


ENGINE = [
    Part(
        "schedule",
        "ns a pick",
        "the next of 1,000 entries that touch 300 of 20,000 edges each; a new one before each fourth: MinimizerScheduler",
    ),
    Part("mutate", "ns a mutant", "by chance, of 64 bytes: HavocScheduledMutator with havoc_mutations"),
    Part("maze", "mutants", "by chance, until six nested compares of a byte are passed: the same"),
    Part("replace", "runs", "by what is compared, until four nested compares of 32 bits are passed: I2SRandReplace"),
]
