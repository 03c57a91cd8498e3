"""Functions and values on their way to another process: by cloudpickle, which takes what no file names."""

from __future__ import annotations

import pickle
import sys
from typing import Any

from hitmap.errors import HitmapError


def pickled(thing: Any, name: str, remedy: str, error: type[HitmapError]) -> bytes:
    """``thing`` as bytes that ``pickle.loads`` takes.

    Raises:
        error: when it cannot travel; says how it could.
    """
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ImportError:
        return _plainly(thing, name, remedy, error)
    try:
        return cloudpickle.dumps(thing)
    except (TypeError, ValueError, AttributeError, pickle.PicklingError) as why:
        raise error(f"{name} cannot travel to another process: {why}; {remedy}") from why


def _plainly(thing: Any, name: str, remedy: str, error: type[HitmapError]) -> bytes:
    # What is pickled by its name in __main__ would not be found in another __main__.
    try:
        data = pickle.dumps(thing)
    except Exception as why:
        problem = str(why)
    else:
        if b"__main__" not in data:
            return data
        problem = "it belongs to the program that runs"
    install = f"{sys.executable} -m pip install cloudpickle"
    raise error(f"{name} cannot travel to another process without cloudpickle ({problem}): {install}, or {remedy}") from None
