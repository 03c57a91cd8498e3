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
    wanted = [*libraries, *_witness(now)]
    # The loader takes a colon and a space for the end of a name.
    wanted = [library for library in wanted if ":" not in library and " " not in library]
    if sys.executable and not set(wanted) <= set(_listed(now)):
        os.execve(
            sys.executable,
            [sys.executable, *sys.orig_argv[1:]],
            {**os.environ, VARIABLE: ":".join(in_order([*wanted, *_listed(before)])), BEFORE: before},
        )
    os.environ[VARIABLE] = before
    if not before:
        del os.environ[VARIABLE]


def in_order(libraries: list[str]) -> list[str]:
    """Each once: runtimes of sanitizers, the witness, the others."""
    return sorted(dict.fromkeys(libraries), key=_rank)


def _rank(library: str) -> int:
    if os.path.basename(library).startswith(FIRST):
        return 0
    return 1 if library == str(WITNESS) else 2


def _witness(now: str) -> list[str]:
    # One that is loaded from elsewhere will do.
    is_there = WITNESS.is_file() and (str(WITNESS) in _listed(now) or not _native.has_witness())
    return [str(WITNESS)] if is_there else []


def _listed(variable: str) -> list[str]:
    return variable.replace(" ", ":").split(":") if variable else []
