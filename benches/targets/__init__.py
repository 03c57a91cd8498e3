"""What is fuzzed: a folder each, with seeds and a harness: `hitmap_harness.py`, and `call.py`, a plain function that
swallows the exceptions that hitmap is told to expect, for everybody else.

A target is one C++ file of ours, or a package on PyPI at a fixed version. Every peer compiles the same source with the
same compiler and options, but for its own coverage.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A target; `package` is a requirement on PyPI, or `None` when the folder has the source, `<name>.cpp`.

    `function` tells a target that has several what to call: its harnesses read it from `BENCH_FUNCTION`. The last two
    are options of hitmap's own commands: of `hitmap build`, or of the wrapper for a file, and of `hitmap fuzz`.
    """

    name: str
    about: str
    package: str | None = None
    function: str = ""
    hitmap_build: tuple[str, ...] = ()
    hitmap_fuzz: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return Path(__file__).parent / self.name

    @property
    def seeds(self) -> Path:
        return self.folder / "seeds"


TARGETS = {
    target.name: target
    for target in [
        Target("noop", "a pybind11 function that takes bytes and ignores them"),
        Target("ujson", "ujson 6.1.0, loads", "ujson==6.1.0"),
        Target("rapidjson", "python-rapidjson 1.25, loads", "python-rapidjson==1.25"),
        Target("pytomlpp", "pytomlpp 1.1.0, loads", "pytomlpp==1.1.0"),
        Target("msgpack", "msgpack 1.2.4, unpackb and packb", "msgpack==1.2.4"),
        Target("journal_1k", "a function of 50 ns, 1,024 guards", None, "", ("--hitmap-guard",)),
        Target("journal_1m", "a function of 50 ns, 1,048,576 guards", None, "", ("--hitmap-guard",)),
        Target("bugs", "bugs behind compares"),
        Target("ujson510", "ujson 5.1.0, loads and dumps", "ujson==5.1.0", "", ("--asan",), ("--asan",)),
        Target("cmarkgfm", "cmarkgfm 2025.10.22, GitHub's Markdown to HTML", "cmarkgfm==2025.10.22"),
    ]
}
