"""What a peer must be able to do."""

import os
import re
import signal
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cpu
from peers.builder import Builder, Unavailable
from peers.side import Side
from targets import Target

DRIVERS = Path(__file__).resolve().parent / "drivers"


@dataclass(frozen=True)
class Command:
    """A campaign that goes on until it is sent `farewell`, and which exit codes then mean that all went well."""

    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    farewell: int = signal.SIGINT
    good: Sequence[int] = (0,)


@dataclass(frozen=True)
class Run:
    """One campaign: inputs run, and CPU seconds of the whole process tree.

    `stopped` is the CPU time at which it was told to end, `None` when it ended by itself.
    """

    runs: int
    cpu: float
    wall: float
    stopped: float | None


class Peer(Builder, Side):
    """A fuzzer."""

    @abstractmethod
    def command(self, target: Target, seed: int, folder: Path) -> Command:
        """A campaign without end in the empty `folder`, with one worker, on inputs up to 4,096 bytes."""

    @abstractmethod
    def runs(self, folder: Path, said: str) -> int | None:
        """How many inputs it ran, once it has ended; `None` when it does not say."""

    @abstractmethod
    def corpus(self, folder: Path) -> Path:
        """The folder of the inputs that it kept."""

    @abstractmethod
    def findings(self, folder: Path) -> list[Path]:
        """The findings that it saved so far. Cheap: it is asked fifty times a second."""

    def fuzz(
        self, target: Target, seed: int, folder: Path, enough: Callable[[float], bool], patience: float
    ) -> Run:
        """One campaign, until `enough` says so of the CPU seconds so far, or it ends by itself."""
        command = self.command(target, seed, folder)
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "BENCH_FUNCTION": target.function}
        environment["PYTHONPATH"] = os.pathsep.join(map(str, [self.built(target), target.folder]))
        log = folder / "log"
        usage = cpu.measure(
            command.argv, {**environment, **command.env}, folder, log, patience, enough, command.farewell
        )
        said = log.read_text(errors="replace")
        runs = self.runs(folder, said)
        if usage.code not in command.good or runs is None:
            raise Unavailable(f"{self.name} ended with {usage.code}:\n{said[-2000:]}")
        return Run(runs, usage.cpu, usage.wall, usage.stopped)


def executions(stats: Path) -> int | None:
    """What a `fuzzer_stats` of AFL's layout says was run; `None` when it is not there or does not say."""
    runs = re.findall(r"^execs_done\s*: (\d+)$", stats.read_text() if stats.exists() else "", re.MULTILINE)
    return int(runs[0]) if runs else None
