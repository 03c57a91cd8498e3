"""What is fuzzed: a folder each, with seeds and the harness that a user of each peer writes.

A target is one C++ file of ours, or a package on PyPI at a fixed version. Every peer compiles the same source with the
same compiler and options, but for its own coverage.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A target; `package` is a requirement on PyPI, or `None` when the folder has the source, `<name>.cpp`."""

    name: str
    about: str
    package: str | None = None

    @property
    def folder(self) -> Path:
        return Path(__file__).parent / self.name

    @property
    def seeds(self) -> Path:
        return self.folder / "seeds"

    def harness(self, peer: str) -> Path:
        return self.folder / f"{peer}_harness.py"


TARGETS = {
    target.name: target
    for target in [
        Target("noop", "a pybind11 function that takes bytes and ignores them"),
        Target("ujson", "ujson 6.1.0, loads", "ujson==6.1.0"),
        Target("rapidjson", "python-rapidjson 1.25, loads", "python-rapidjson==1.25"),
    ]
}
