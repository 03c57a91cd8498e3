"""How a library was optimised, read from the library: the compiler writes its command lines into it.

Two builds of one target are only compared when this is the same. Owns the reading; `builder` has it recorded.
"""

import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from peers.builder import Unavailable

# What RECORD makes.
SECTION = ".GCC.command.line"

# What makes code faster or slower for reasons other than coverage. Of those that begin alike the last one holds.
GROUPS = {
    "-O": r"-O[0-9a-z]*",
    "-march": r"-march=.*",
    "-mtune": r"-mtune=.*",
    "-flto": r"-flto(=.*)?|-fno-lto",
    "-ffast-math": r"-ffast-math|-fno-fast-math",
    "-fwrapv": r"-fwrapv|-fno-wrapv|-fno-strict-overflow|-fstrict-overflow",
    "-fstrict-aliasing": r"-fstrict-aliasing|-fno-strict-aliasing",
    "-finline": r"-fno-inline(-functions)?|-finline-functions",
    "-funroll-loops": r"-funroll-loops|-fno-unroll-loops",
}
# hitmap's own objects, which are no part of a target.
NOT_THE_TARGETS = re.compile(r"/hitmap_\w+\.c$")


def of_command(line: str) -> str | None:
    """What a recorded command line says of optimisation; `None` when it is not of the target."""
    words = shlex.split(line)
    if any(NOT_THE_TARGETS.search(word) for word in words):
        return None
    last = {name: word for word in words for name, pattern in GROUPS.items() if re.fullmatch(pattern, word)}
    level = last.pop("-O", "-O0")
    return " ".join(["-O1" if level == "-O" else level, *sorted(last.values())])


def of_library(library: Path) -> set[str]:
    """How its files were optimised. Empty when it does not say."""
    said = subprocess.run(["readelf", "--wide", "--string-dump", SECTION, library], capture_output=True, text=True).stdout
    lines = re.findall(r"^\s*\[\s*[0-9a-f]+\]\s+(.*)$", said, re.MULTILINE)
    return {how for line in lines if (how := of_command(line)) is not None}


def refuse_differences(what: str, libraries: Mapping[str, Iterable[Path]]) -> None:
    """Sees that everybody's libraries of one target were optimised alike.

    Raises:
        Unavailable: with how each was, when they differ, or one does not say.
    """
    found = {name: frozenset().union(*map(of_library, files)) for name, files in libraries.items()}
    if len(set(found.values())) <= 1 and all(found.values()):
        return
    told = "; ".join(f"{name}: {', '.join(sorted(hows)) or 'does not say'}" for name, hows in found.items())
    raise Unavailable(f"{what}: its builds are not optimised alike, so they are not compared ({told}). See compilers() of each peer, "
                      "and CFLAGS of this shell")
