"""Edges reached after a budget of CPU seconds, from one seed, counted by the common yardstick."""

from collections.abc import Sequence
from pathlib import Path

from peers.optimised import refuse_differences
from peers.peer import Peer
from rows.row import Row
from targets import Target
from yardstick import Yardstick


class Coverage(Row):
    unit = "edges"
    seconds = 60

    def __init__(self, target: Target, peers: Sequence[Peer]):
        self.name = f"{target.name}-edges"
        self.about = f"{target.about}: edges that the kept inputs reach"
        self.target = target
        self.peers = peers
        self.yardstick = Yardstick()

    def prepare(self) -> None:
        self.yardstick.build(self.target)
        for peer in self.peers:
            peer.build(self.target)
        refuse_differences(self.name, {peer.name: peer.libraries(self.target) for peer in self.peers})

    def once(self, peer: Peer, seconds: float, seed: int, folder: Path) -> float:
        peer.fuzz(self.target, seed, folder, lambda cpu: cpu >= seconds, 10 * seconds + 60)
        return self.yardstick.edges(self.target, [peer.corpus(folder), self.target.seeds])
