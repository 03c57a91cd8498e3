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


# A figure is taken again when the plain build took so much longer than it ever did: a neighbour was at work.
QUIET = 1.1
ATTEMPTS = 20


class Cost(Row):
    unit = "times plain"
    seconds = 0.4
    turns = 3
    peers = BUILDS

    def __init__(self, workload: Workload, about: str, threads: int = 1):
        self.name = f"{workload.name}-cost"
        self.about = about
        self.workload = workload
        self.threads = threads
        # A call of the plain build, in every attempt at a figure; before them, as often by itself.
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
        self.nanoseconds = [self.beside_plain(self.plain, self.seconds)[0] for _ in range(ATTEMPTS)]

    def once(self, peer: Build, seconds: float, seed: int, folder: Path) -> float:
        attempts = []
        for _ in range(ATTEMPTS):
            nanoseconds, ratio = self.beside_plain(peer, seconds)
            attempts.append((nanoseconds, ratio))
            self.nanoseconds.append(nanoseconds)
            if self.was_quiet(nanoseconds):
                break
        return min(attempts)[1]

    def was_quiet(self, nanoseconds: float) -> bool:
        return nanoseconds < QUIET * min(self.nanoseconds)

    def beside_plain(self, peer: Build, seconds: float) -> tuple[float, float]:
        """Nanoseconds of a call of the plain build, and how many times that this one takes."""
        libraries = [build.library(self.workload) for build in (peer, self.plain)]
        command = [self.timer, *libraries, str(seconds), str(self.threads)]
        if runtime := peer.runtime():
            command.append(runtime)
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise Unavailable(f"{peer.name} ended with {run.returncode}: {run.stderr}")
        ratio, nanoseconds = map(float, run.stdout.split())
        return nanoseconds, ratio

    def remark(self, figures: Mapping[tuple[Row, Side], Sequence[float]]) -> str:
        plain = statistics.median(filter(self.was_quiet, self.nanoseconds))
        event = plain / self.events
        attempts, taken = len(self.nanoseconds) - ATTEMPTS, sum(len(figures[self, peer]) for peer in self.peers)
        added = "; ".join(
            f"{peer.version()} {(statistics.median(figures[self, peer]) - 1) * event:.2f}" for peer in self.peers[:-1]
        )
        return (
            f". {self.edges:,} edges, {self.hit:,} of them hit, {self.events:,} events a call; a call of the build that is not "
            f"instrumented takes {plain:,.0f} ns, one event in {event:.2f}; {attempts} attempts for {taken} figures. "
            f"Nanoseconds that one event adds: {added}"
        )
