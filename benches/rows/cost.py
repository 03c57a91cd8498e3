"""CPU time of one call of a workload, for each way to instrument it."""

import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cost.builds import BUILDS, EVENTS, HERE, Build, Workload, timer
from peers.builder import Unavailable
from peers.side import Side
from rows.row import Row


class Cost(Row):
    unit = "ns a call"
    # Short turns, and many: a neighbour on the machine's host slows all builds by a third or more for
    # seconds on end, calls more than others, and a ratio is only true within one such stretch.
    seconds = 0.1
    turns = 10
    peers = BUILDS

    def __init__(self, workload: Workload, about: str, threads: int = 1):
        self.name = f"{workload.name}-cost"
        self.about = about
        self.workload = workload
        self.threads = threads

    def prepare(self) -> None:
        for build in self.peers:
            build.build(self.workload)
        self.timer = timer()
        EVENTS.install()
        EVENTS.build(self.workload)
        command = [sys.executable, HERE / "count.py", EVENTS.runtime(), EVENTS.library(self.workload)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        self.edges, self.hit, self.events = map(int, run.stdout.split())

    def once(self, peer: Build, seconds: float, seed: int, folder: Path) -> float:
        command = [self.timer, peer.library(self.workload), str(seconds), str(self.threads)]
        if runtime := peer.runtime():
            command.append(runtime)
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise Unavailable(f"{peer.name} ended with {run.returncode}: {run.stderr}")
        return float(run.stdout)

    def remark(self, figures: Mapping[tuple[Row, Side], Sequence[float]]) -> str:
        *others, plain = (statistics.median(figures[self, peer]) for peer in self.peers)
        added = "; ".join(
            f"{peer.version()} {(median - plain) / self.events:.2f}"
            for peer, median in zip(self.peers, others, strict=False)
        )
        return (
            f". {self.edges:,} edges, {self.hit:,} of them hit, {self.events:,} events a call, one in "
            f"{plain / self.events:.2f} ns when not instrumented. Nanoseconds that one event adds: {added}"
        )
