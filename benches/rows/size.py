"""hitmap's own rate on maps of different sizes: what runs is the same, and so should the rate be."""

from pathlib import Path

from peers import PEERS
from peers.side import Way
from rows.row import Row
from targets import TARGETS


class Size(Row):
    name = "map-edges"
    unit = "runs per CPU-second"
    about = "hitmap on a function of some 50 ns, guards with a journal"
    peers = [Way("1 Mi edges", "journal_1m"), Way("1 Ki edges", "journal_1k")]

    def prepare(self) -> None:
        PEERS["hitmap"].install()
        for side in self.peers:
            PEERS["hitmap"].build(TARGETS[side.way])

    def once(self, peer: Way, seconds: float, seed: int, folder: Path) -> float:
        def enough(cpu: float) -> bool:
            return cpu >= seconds

        run = PEERS["hitmap"].fuzz(TARGETS[peer.way], seed, folder, enough, 10 * seconds + 60)
        return run.runs / run.cpu
