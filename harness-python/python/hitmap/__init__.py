"""hitmap finds crashes, hangs and broken promises in C++ libraries that are used from Python.

    import hitmap

    @hitmap.harness(expected=(ValueError,))      # anything else that is raised is a finding
    def parse(data: bytes):
        mylib.parse(data)

``hitmap fuzz FILE.py -j 8`` runs it on eight cores, `fuzz` does the same from a script, and `coverage` shows what ran inside
the library in this process. Importing hitmap loads the runtime that instrumented libraries count with; it starts
nothing.
"""

from __future__ import annotations

import os as _os
import signal as _signal
import sys as _sys

# The command line, by its script or as `python -m hitmap`, takes over Ctrl-C when it is loaded. Until then Ctrl-C ends it
# as it would there, with the exit code for interrupted, and not with a traceback of what is being imported.
_program = (getattr(_sys, "argv", None) or [""])[0]
if _os.path.basename(_program) == "hitmap" or (_program == "-m" and "hitmap" in _sys.orig_argv):
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, lambda *_: _os._exit(2))

from pathlib import Path as _Path  # noqa: E402

from hitmap import _native, errors  # noqa: E402

_RUNTIME = _Path(__file__).parent / "_rt" / "libhitmap_rt.so"
# Before anything else, so that a library which is imported next finds it. An installation without one still has
# harnesses and the command line; `coverage` says what is missing.
if _RUNTIME.exists():
    _native.load_runtime(_RUNTIME)

from hitmap._fuzz import Finding, Result, fuzz  # noqa: E402
from hitmap._harness import Harness, harness  # noqa: E402
from hitmap._isolated import Run, isolated, mark  # noqa: E402
from hitmap._native import History, mutate, venn  # noqa: E402
from hitmap.coverage import Coverage, Delta, Module, Place, Snapshot, coverage  # noqa: E402

__version__ = _native.__version__

__all__ = [
    "Coverage",
    "Delta",
    "Finding",
    "Harness",
    "History",
    "Module",
    "Place",
    "Result",
    "Run",
    "Snapshot",
    "coverage",
    "errors",
    "fuzz",
    "harness",
    "isolated",
    "mark",
    "mutate",
    "venn",
]
