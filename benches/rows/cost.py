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


# A turn is done again when the plain build took so much longer than it ever did: a neighbour was at work.
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
        # Of the plain build, in all attempts, and how many of these were done again.
        self.nanoseconds: list[float] = []
        self.again = 0

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
        # What the plain build takes when nobody is at work.
        self.nanoseconds = [self.beside_plain(self.plain, self.seconds)[0] for _ in range(ATTEMPTS)]

    def once(self, peer: Build, seconds: float, seed: int, folder: Path) -> float:
        attempts = []
        for _ in range(ATTEMPTS):
            nanoseconds, ratio = self.beside_plain(peer, seconds)
            attempts.append((nanoseconds, ratio))
            self.nanoseconds.append(nanoseconds)
            if nanoseconds < QUIET * min(self.nanoseconds):
                break
            self.again += 1
        return min(attempts)[1]

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
        quiet = [nanoseconds for nanoseconds in self.nanoseconds if nanoseconds < QUIET * min(self.nanoseconds)]
        plain = statistics.median(quiet)
        event = plain / self.events
        added = "; ".join(
            f"{peer.version()} {(statistics.median(figures[self, peer]) - 1) * event:.2f}" for peer in self.peers[:-1]
        )
        return (
            f". {self.edges:,} edges, {self.hit:,} of them hit, {self.events:,} events a call; a call of the build that is not "
            f"instrumented takes {plain:,.0f} ns, one event in {event:.2f}; {self.again} of {len(self.nanoseconds)} turns were done "
            f"again. Nanoseconds that one event adds: {added}"
        )
