"""CPU time of one call of a workload, for each way to instrument it."""

import subprocess
from pathlib import Path

from cost.builds import BUILDS, Build, Workload, timer
from peers.builder import Unavailable
from rows.row import Row


class Cost(Row):
    unit = "ns a call"
    seconds = 0.4
    turns = 3
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

    def once(self, peer: Build, seconds: float, seed: int, folder: Path) -> float:
        command = [self.timer, peer.library(self.workload), str(seconds), str(self.threads)]
        if runtime := peer.runtime():
            command.append(runtime)
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise Unavailable(f"{peer.name} ended with {run.returncode}: {run.stderr}")
        return float(run.stdout)
