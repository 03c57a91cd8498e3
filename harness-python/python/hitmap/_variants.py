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


def preloads(name: str, harness: Path) -> list[str]:
    """What a process that loads builds of this kind must have loaded before Python: a sanitizer's runtime.

    Raises:
        LoadFailure: when it is not there.
    """
    lists = [Path(folder, PRELOAD) for folder in folders(name, harness)]
    wanted = dict.fromkeys(line for file in lists if file.is_file() for line in file.read_text().split("\n") if line)
    if missing := [path for path in wanted if not os.path.isfile(path)]:
        text = f"{missing[0]}: no such file, and the builds need it; `{BUILT_BY[name]}` builds them with what there is now"
        raise LoadFailure(LoadFailure.NO_VARIANT, text)
    return list(wanted)
