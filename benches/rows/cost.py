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
    unit = "times plain"
    seconds = 0.4
    turns = 5
    peers = BUILDS

    def __init__(self, workload: Workload, about: str, threads: int = 1):
        self.name = f"{workload.name}-cost"
        self.about = about
        self.workload = workload
        self.threads = threads
        self.nanoseconds: list[float] = []

    def prepare(self) -> None:
        *_, self.plain = self.peers
        for build in self.peers:
            build.build(self.workload)
        self.timer = timer()
        EVENTS.install()
        EVENTS.build(self.workload)
        command = [sys.executable, HERE / "count.py", EVENTS.runtime(), EVENTS.library(self.workload)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        self.edges, self.hit, self.events = map(int, run.stdout.split())

    def once(self, peer: Build, seconds: float, seed: int, folder: Path) -> float:
        libraries = [build.library(self.workload) for build in (peer, self.plain)]
        command = [self.timer, *libraries, str(seconds), str(self.threads)]
        if runtime := peer.runtime():
            command.append(runtime)
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise Unavailable(f"{peer.name} ended with {run.returncode}: {run.stderr}")
        ratio, nanoseconds = map(float, run.stdout.split())
        self.nanoseconds.append(nanoseconds)
        return ratio

    def remark(self, figures: Mapping[tuple[Row, Side], Sequence[float]]) -> str:
        plain = statistics.median(self.nanoseconds)
        event = plain / self.events
        added = "; ".join(
            f"{peer.version()} {(statistics.median(figures[self, peer]) - 1) * event:.2f}" for peer in self.peers[:-1]
        )
        return (
            f". {self.edges:,} edges, {self.hit:,} of them hit, {self.events:,} events a call; a call of the build that is not "
            f"instrumented takes {plain:,.0f} ns, one event in {event:.2f}. Nanoseconds that one event adds: {added}"
        )
