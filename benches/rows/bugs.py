"""CPU seconds of the whole process tree until the first finding is on the disk.

Counted from the first instruction of the fuzzer's command: the starts of all of its interpreters are in it, for every
peer alike. Whoever has found nothing when the budget is spent gets the budget as its figure.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from peers.optimised import refuse_differences
from peers.peer import Peer
from rows.row import Row
from targets import Target


class Bug(Row):
    unit = "CPU-seconds to a finding"
    seconds = 30

    def __init__(self, name: str, about: str, target: Target, peers: Sequence[Peer], word: str = ""):
        """`word` stands in the finding that is waited for, when the target has other bugs as well."""
        self.name = f"bug-{name}"
        self.word = word
        self.about = f"{about}; who finds nothing gets the whole budget"
        self.target = dataclasses.replace(target, function=name)
        self.peers = peers

    def prepare(self) -> None:
        for peer in self.peers:
            peer.build(self.target)
        refuse_differences(self.name, {peer.name: peer.libraries(self.target) for peer in self.peers})

    def once(self, peer: Peer, seconds: float, seed: int, folder: Path) -> float:
        def found() -> bool:
            return any(self.word in path.read_text(errors="replace") for path in peer.findings(folder))

        def enough(cpu: float) -> bool:
            return cpu >= seconds or found()

        run = peer.fuzz(self.target, seed, folder, enough, 10 * seconds + 60)
        if not found():
            return seconds
        # Who ends by itself at a finding was not told to.
        return min(run.cpu if run.stopped is None else run.stopped, seconds)
