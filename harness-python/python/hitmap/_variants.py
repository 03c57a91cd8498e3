"""Builds of a library beside the one that ``import`` finds: where they lie, and how a worker comes to load them.

``hitmap build`` keeps a package's **comparison build** and its builds with a sanitizer in folders under ``.hitmap/``,
so that site-packages holds the ordinary one. A folder that stands on ``sys.path``, and that of the harness, may have a
``.hitmap/`` of its own: that is where libraries go that are built by hand.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hitmap.errors import LoadFailure

# In a folder of builds: the paths of libraries that a process must have loaded before Python starts, one a line.
PRELOAD = "preload"
# Set for the second start: what LD_PRELOAD was before.
STARTED_AGAIN = "HITMAP_STARTED_AGAIN"

COMPARISONS = "comparisons"
ASAN = "asan"
UBSAN = "ubsan"

# What a user types to get one.
BUILT_BY = {
    COMPARISONS: "hitmap build PACKAGE",
    ASAN: "hitmap build --asan PACKAGE",
    UBSAN: "hitmap build --ubsan PACKAGE",
}


def folders(name: str, harness: Path) -> list[str]:
    """Folders of builds of one kind, in the order in which they are looked through."""
    entries = [*(entry or os.getcwd() for entry in sys.path), harness.resolve().parent, sys.prefix]
    places = dict.fromkeys(str(Path(entry, ".hitmap", name)) for entry in entries)
    return [place for place in places if os.path.isdir(place) and os.listdir(place)]


def choose(name: str, harness: Path) -> bool:
    """Has imports find builds of this kind first; says whether there are any."""
    found = folders(name, harness)
    sys.path[:0] = found
    return bool(found)


def start_again(name: str, harness: Path, arguments: list[str]) -> None:
    """Replaces this process by one that has loaded what builds of this kind need before Python: a sanitizer's runtime.

    Returns when nothing is needed, or this is that process already. Its own children get none of it.

    Raises:
        LoadFailure: when it is not there.
    """
    if (before := os.environ.pop(STARTED_AGAIN, None)) is not None:
        os.environ["LD_PRELOAD"] = before
        if not before:
            del os.environ["LD_PRELOAD"]
        return
    lists = [Path(folder, PRELOAD) for folder in folders(name, harness)]
    wanted = dict.fromkeys(line for file in lists if file.is_file() for line in file.read_text().split("\n") if line)
    if not wanted:
        return
    if missing := [path for path in wanted if not os.path.isfile(path)]:
        text = f"{missing[0]}: no such file, and the builds need it; `{BUILT_BY[name]}` builds them with what there is now"
        raise LoadFailure(LoadFailure.NO_VARIANT, text)
    before = os.environ.get("LD_PRELOAD", "")
    loaded = ":".join([*wanted, *([before] if before else [])])
    os.execve(
        sys.executable,
        [sys.executable, "-m", "hitmap.worker", *arguments],
        {**os.environ, "LD_PRELOAD": loaded, STARTED_AGAIN: before},
    )
