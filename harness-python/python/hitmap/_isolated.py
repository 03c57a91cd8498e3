"""`isolated`: one call in a child process, with the coverage of that call alone, however it ends.

The child counts into memory that this process reads when it is gone, so a crash, a hang or a kill loses nothing. Owns
what a run means to the caller; `hitmap._fork` has the child, `hitmap._fork_server` the way there from a process with
threads.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hitmap import _fork
from hitmap._native import Snapshot
from hitmap.errors import IsolatedError

__all__ = ["Run", "isolated", "mark"]


# Seconds: thirty years. The system's clocks do not count to infinity.
_FOREVER = 1e9


@dataclass(frozen=True)
class Run:
    """What became of one call.

    Attributes:
        outcome: ``ok``, ``exception``, ``exit``, ``signal`` or ``timeout``.
        value: what the function returned; ``None`` unless the outcome is ``ok``.
        error: what it raised, when the outcome is ``exception``; an ``IsolatedError`` when that, or the value, cannot
            be carried over by pickle.
        traceback: the child's traceback of ``error``, as text.
        signal: the signal that ended the child, 9 for one that was killed.
        exit_code: what the child ended itself with, by ``sys.exit`` or ``exit``.
        seconds: from the fork to the end.
        coverage: the edges of this run and of no other.
        marks: by name, in their order, the edges that were covered when `mark` was called. Hit classes are those of
            the whole run.
    """

    outcome: str
    value: Any = field(repr=False)
    error: BaseException | None
    traceback: str | None = field(repr=False)
    signal: signal.Signals | int | None
    exit_code: int | None
    seconds: float
    coverage: Snapshot
    marks: dict[str, Snapshot] = field(repr=False)


def isolated(fn: Callable[..., Any], /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Run:
    """Calls ``fn(*args, **kwargs)`` in a forked child and waits for its end.

    The child starts as a copy of this process: everything that is imported is there, and nothing that the call changes
    comes back but its value, by pickle. Its view of coverage begins empty, and it ends with everything that it started.
    Threads do not survive a fork. While other Python threads are alive, as in a notebook, a lock that one of them holds
    would be held for ever in the child; the child is then forked from a clean server process, and function, arguments
    and what they refer to travel there by pickle, or by cloudpickle when that is installed.

    Args:
        fn: what to call. A function that takes a ``timeout`` itself goes in as a ``functools.partial``.
        timeout: seconds after which the child is killed; none by default, nor with ``math.inf``.

    Raises:
        IsolatedError: when the child cannot be started: the function cannot travel, or a server cannot import what it
            needs. What the function does never raises here.
        RuntimeError: when this installation has no runtime.
    """
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is {timeout}; give seconds above 0, or None for no limit")
    if timeout is not None and timeout > _FOREVER:
        timeout = None
    # A process that never imported it has one thread of Python. Imported here, it would run its handlers at each of a
    # worker's forks.
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        # Importing hitmap stays quick for those who never come here.
        from hitmap import _fork_server

        ended = _fork_server.run(fn, args, kwargs, timeout)
    else:
        ended = _fork.run(lambda: fn(*args, **kwargs), timeout)
    return _understood(ended)


def mark(name: str) -> None:
    """Inside `isolated`: notes under ``name`` what the run has covered so far; elsewhere does nothing.

    A name that is used again replaces the earlier mark.
    """
    if _fork.entered is not None:
        _fork.entered.mark(name)


def _understood(ended: _fork.Ended) -> Run:
    with ended:
        coverage, marks = ended.twin.collect()
        left = ended.left()
        ended.keep()
    outcome, value, error, traceback, number, code = "exit", None, None, None, None, None
    if ended.timed_out:
        outcome = "timeout"
    elif os.WIFSIGNALED(ended.status):
        outcome, number = "signal", _named(os.WTERMSIG(ended.status))
    elif left is None:
        code = os.waitstatus_to_exitcode(ended.status)
    else:
        outcome, traceback = left.outcome, left.traceback
        try:
            what = pickle.loads(left.body)
        except Exception as failure:
            thing = "value" if outcome == "ok" else "exception"
            outcome, error = "exception", IsolatedError(f"the {thing} of the run cannot be unpickled here: {failure!r}")
        else:
            if outcome == "refused":
                raise IsolatedError(str(what))
            value, error = (what, None) if outcome == "ok" else (None, what)
    return Run(outcome, value, error, traceback, number, code, ended.seconds, coverage, dict(marks))


def _named(number: int) -> signal.Signals | int:
    try:
        return signal.Signals(number)
    except ValueError:
        # The real-time signals between the first and the last have no name.
        return number
