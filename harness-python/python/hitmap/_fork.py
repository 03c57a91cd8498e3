"""One run in a forked child: starts it, waits for it, ends it, and keeps what it left.

Owns the child from the fork to the end. A child is a process group of its own, and the whole group is killed when the
run is over, so that nothing of it goes on counting or holds a file open. What the child leaves are three memory files:
the map, the marks (both in `hitmap._native.Twin`) and the result. The result is believed only when the child ended as it
should. The other two serve the next run as well when the child was the last to have them: making pages costs more than
all the rest.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from hitmap import _native
from hitmap.errors import IsolatedError

# Runs that share a twin.
RUNS = 1000
# The process that has it, and the twin for its next run.
_spare: tuple[int, _native.Twin] | None = None
_uses: dict[int, int] = {}

_PACKAGE = os.path.dirname(__file__)

# In a child, what it counts into; what `hitmap.mark` writes to.
entered: _native.Twin | None = None


class CallerGone(Exception):
    """Nobody waits for the run any more."""


@dataclass
class Ended:
    """A run that is over. ``with`` closes its result; the twin must be empty when the block ends.

    Attributes:
        last: whether no process is left that was started by the child and kept its files.
        after: what is called at the end of the block, with whether it ended well.
    """

    twin: _native.Twin
    result: int
    status: int
    timed_out: bool
    seconds: float
    last: bool
    after: Callable[[bool], None] | None = None

    def __enter__(self) -> Ended:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.close(self.result)
        if self.after is not None:
            self.after(kind is None)

    def left(self) -> Left | None:
        """What the child said at its end; None when it did not get there."""
        if self.timed_out or self.status != 0:
            return None
        try:
            # Opened again: the server and its caller read at the same time, and what they share has one position.
            with open(f"/proc/self/fd/{self.result}", "rb") as file:
                return Left(*pickle.load(file))
        except (EOFError, pickle.UnpicklingError, ValueError, TypeError):
            return None

    def keep(self) -> None:
        """Lets the twin, which is empty, serve the next run of this process, if nobody else counts into it.

        A thread or a process that was killed while it counted can leave an edge half noted, which would be missed from
        then on; what cannot be seen of that is bounded by the number of runs.
        """
        global _spare
        left = self.left()
        if self.last and left is not None and left.threads == 1:
            uses = _uses.get(self.twin.parts()[2], 0) + 1
            _uses.clear()
            if uses < RUNS:
                _uses[self.twin.parts()[2]] = uses
                _spare = (os.getpid(), self.twin)


class Left(NamedTuple):
    """What a child says at its end."""

    outcome: str
    body: bytes
    traceback: str | None
    threads: int


def run(call: Callable[[], Any], timeout: float | None, caller: socket.socket | None = None) -> Ended:
    """Runs ``call`` in a child.

    Raises:
        CallerGone: when ``caller`` is hung up before the child ends. The child is killed.
    """
    twin = _taken() or _native.Twin.make()
    result = os.memfd_create("hitmap-result", os.MFD_CLOEXEC)
    # Hangs up when the last process that got it from the child is gone, or runs another program.
    lifeline, held = os.pipe()
    try:
        # What stands in a buffer now would be written by both processes.
        _flush()
        started = time.monotonic()
        parent = os.getpid()
        with warnings.catch_warnings():
            # Python 3.12 counts native threads too, and warns at every fork. Those of libraries end here, as in
            # multiprocessing; other Python threads are the caller's business.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _child(call, twin, result, parent)
        os.close(held)
        held = -1
        status, timed_out, last = _wait(pid, timeout, caller, lifeline)
    except BaseException:
        os.close(result)
        raise
    finally:
        os.close(lifeline)
        if held >= 0:
            os.close(held)
    return Ended(twin, result, status, timed_out, time.monotonic() - started, last)


def _taken() -> _native.Twin | None:
    global _spare
    spare, _spare = _spare, None
    # A forked child has its parent's, which the parent goes on using.
    return spare[1] if spare is not None and spare[0] == os.getpid() else None


def _wait(pid: int, timeout: float | None, caller: socket.socket | None, lifeline: int) -> tuple[int, bool, bool]:
    last = False
    try:
        timed_out = not _ends(pid, timeout, caller)
        if not timed_out:
            poll = select.poll()
            poll.register(lifeline, 0)
            last = bool(poll.poll(0))
    finally:
        # While the child is not reaped, its number is nobody else's. Both: it may not have its group yet.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    return status, timed_out, last


def _ends(pid: int, timeout: float | None, caller: socket.socket | None) -> bool:
    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if caller is not None:
            # No event is asked for: hanging up is told anyway.
            poll.register(caller, 0)
        ready = [fd for fd, _ in poll.poll(None if timeout is None else max(1, round(timeout * 1000)))]
    finally:
        os.close(handle)
    if ready and handle not in ready:
        raise CallerGone
    return bool(ready)


def _child(call: Callable[[], Any], twin: _native.Twin, result: int, parent: int) -> NoReturn:
    global entered
    code = 1
    try:
        me = os.getpid()
        os.setpgid(0, 0)
        try:
            twin.enter()
            entered = twin
        except Exception as error:
            left = _carried("refused", error, None)
        if os.getppid() != parent:
            # It went before the kernel was told to end the child with it.
            os._exit(1)
        if entered is twin:
            try:
                left = _carried("ok", call(), None)
            except SystemExit as leaving:
                code = _code_of(leaving)
                left = None
            except BaseException as error:
                left = _carried("exception", error, _traceback(error))
        # A child of the call that came back from it ends here, and says nothing.
        if os.getpid() == me:
            twin.gather()
            _flush()
            if left is not None:
                with open(result, "wb", closefd=False) as file:
                    file.write(left)
                code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _carried(outcome: str, what: object, text: str | None) -> bytes:
    try:
        body = pickle.dumps(what)
    except Exception as failure:
        thing = f"the value, a {type(what).__name__}," if outcome == "ok" else f"{type(what).__name__}: {what}"
        remedy = "; return something that pickles" if outcome == "ok" else ""
        error = IsolatedError(f"{thing} cannot be carried over by pickle: {failure}{remedy}")
        outcome, body = "exception", pickle.dumps(error)
    return pickle.dumps((outcome, body, text, len(os.listdir("/proc/self/task"))))


def _traceback(error: BaseException) -> str:
    # The frames of hitmap itself, which come first, say nothing.
    inner = error.__traceback__
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        inner = inner.tb_next
    return "".join(traceback.format_exception(type(error), error, inner))


def _code_of(leaving: SystemExit) -> int:
    """The exit code that Python makes of it."""
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    print(leaving.code, file=sys.stderr)
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # None, gone or closed: nothing is held back.
            pass
