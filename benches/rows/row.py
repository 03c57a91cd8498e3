"""A line of the table for each of its peers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from peers.side import Side


class Row(ABC):
    """Something that is measured in turns. The last peer is what the others are divided by."""

    name: str
    about: str
    unit: str
    peers: Sequence[Side]
    # CPU seconds of one campaign, unless the command line says otherwise.
    seconds: float = 10
    # Figures of each peer in a round.
    turns: int = 1

    @abstractmethod
    def prepare(self) -> None:
        """Builds what the peers need; they are installed."""

    def remark(self, figures: "Mapping[tuple[Row, Side], Sequence[float]]") -> str:
        """What the record adds to `about`, from all figures of the run."""
        return ""

    @abstractmethod
    def once(self, peer: Side, seconds: float, seed: int, folder: Path) -> float:
        """One figure of one peer, which may use the empty `folder`. The seed is the number of the turn."""
