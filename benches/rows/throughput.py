"""Runs per CPU-second of the whole process tree."""

from collections.abc import Sequence
from pathlib import Path

from peers.optimised import refuse_differences
from peers.peer import Peer
from rows.row import Row
from targets import Target


class Throughput(Row):
    unit = "runs per CPU-second"

    def __init__(self, target: Target, peers: Sequence[Peer]):
        self.name = target.name
        self.about = target.about
        self.target = target
        self.peers = peers

    def prepare(self) -> None:
        for peer in self.peers:
            peer.build(self.target)
        refuse_differences(self.name, {peer.name: peer.libraries(self.target) for peer in self.peers})

    def once(self, peer: Peer, seconds: float, seed: int, folder: Path) -> float:
        run = peer.fuzz(self.target, seed, folder, lambda cpu: cpu >= seconds, 10 * seconds + 60)
        return run.runs / run.cpu
