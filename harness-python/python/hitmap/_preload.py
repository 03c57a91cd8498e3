"""What a worker's process has loaded before Python starts: a sanitizer's runtime, and hitmap's witness.

The witness stands in front of the functions by which a target ends (``runtime/witness``). The engine starts a worker
with it where it can; a worker that was started otherwise replaces itself. What the target starts gets none of it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hitmap import _native

# What LD_PRELOAD was before somebody changed it for this process.
BEFORE = "HITMAP_PRELOADED"
VARIABLE = "LD_PRELOAD"

# Runtimes of sanitizers take the first place, or refuse to run.
FIRST = ("libclang_rt.", "libasan", "libubsan", "libtsan", "liblsan")

WITNESS = Path(__file__).parent / "_rt" / "libhitmap_witness.so"


def ensure(libraries: list[str]) -> None:
    """Sees to it that these are loaded, and the witness: replaces this process by one that begins with them, unless
    this is that process already. Puts the environment back as it was for what the target starts.
    """
    now = os.environ.get(VARIABLE, "")
    before = os.environ.pop(BEFORE, now)
    wanted = in_order(libraries, now)
    if sys.executable and not set(wanted) <= set(now.split(":")):
        loaded = ":".join([*wanted, *([before] if before else [])])
        os.execve(
            sys.executable,
            [sys.executable, *sys.orig_argv[1:]],
            {**os.environ, VARIABLE: loaded, BEFORE: before},
        )
    os.environ[VARIABLE] = before
    if not before:
        del os.environ[VARIABLE]


def in_order(libraries: list[str], now: str) -> list[str]:
    """The libraries with the witness among them, if there is one and it is not loaded from elsewhere."""
    is_there = WITNESS.is_file() and (str(WITNESS) in now.split(":") or not _native.has_witness())
    first = [library for library in libraries if os.path.basename(library).startswith(FIRST)]
    rest = [library for library in libraries if library not in first]
    wanted = [*first, *([str(WITNESS)] if is_there else []), *rest]
    # The loader takes a colon and a space for the end of a name.
    return [library for library in wanted if ":" not in library and " " not in library]
