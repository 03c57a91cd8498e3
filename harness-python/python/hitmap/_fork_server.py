"""The clean process that runs are forked from while this one has threads.

A server is a fresh interpreter with this one's ``sys.path`` and working folder. It takes one call at a time: it
unpickles the function, which imports what that needs and stays imported, forks, and waits. Arguments are unpickled in
the child. Servers are kept for the next call, one for each call that is under way at once, and end with this process.

On the socket, the caller sends a pickled `(function, arguments, timeout)`, the first two pickled once more. The server
answers with a pickled line that says why it could not start, or with a tuple (status, timed out, seconds, token), which
the three descriptors of the run follow. A caller that hangs up ends the run, and the server.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from hitmap import _fork, _native, _travel
from hitmap.errors import IsolatedError

_lock = threading.Lock()
_idle: list[Server] = []
_owner = os.getpid()


class Server:
    """A server, from the side of its caller."""

    def __init__(self) -> None:
        self.twin: _native.Twin | None = None
        self.socket, theirs = socket.socketpair()
        with theirs:
            program = f"from hitmap._fork_server import main; main({theirs.fileno()})"
            command = [sys.executable, "-c", program]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self.connection = Connection(os.dup(self.socket.fileno()))
        self.connection.send_bytes(pickle.dumps((sys.path, os.getcwd())))

    def run(self, function: bytes, arguments: bytes, timeout: float | None) -> _fork.Ended:
        try:
            os.fspath(os.getcwd())
            self.connection.send_bytes(pickle.dumps((function, arguments, timeout)))
            answer = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            code = self.process.wait()
            raise IsolatedError(
                f"the server that forks runs ended with code {code} while it imported what the function needs; import "
                "that inside the function, or call isolated from a process without other threads"
            ) from None
        if isinstance(answer, str):
            raise IsolatedError(answer)
        status, timed_out, seconds, token = answer
        _, (map_fd, marks, result), _, _ = socket.recv_fds(self.socket, 1, 3)
        if self.twin is not None and self.twin.parts()[2] == token:
            # The server's twin has served before, and is mapped here already.
            os.close(map_fd)
            os.close(marks)
        else:
            self.twin = _native.Twin.join(map_fd, marks, token)
        # Whether it serves again is the server's affair.
        return _fork.Ended(self.twin, result, status, timed_out, seconds, last=False)

    def close(self) -> None:
        self.connection.close()
        self.socket.close()
        self.process.wait()


def run(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None) -> _fork.Ended:
    """Runs a call in a child of a server.

    Raises:
        IsolatedError: when function or arguments cannot travel, or cannot be imported there.
    """
    name = getattr(function, "__qualname__", repr(function))
    remedy = "move it to a .py file, or call isolated while no other thread is alive"
    pickled = _travel.pickled(function, name, remedy, IsolatedError)
    arguments = _travel.pickled((args, kwargs), f"an argument of {name}", "pass something that pickles", IsolatedError)
    server = _taken()
    try:
        ended = server.run(pickled, arguments, timeout)
    except BaseException:
        # Hanging up ends the run: after Ctrl-C it is still going on.
        server.close()
        raise

    def after(well: bool) -> None:
        if well:
            with _lock:
                _idle.append(server)
        else:
            server.close()

    ended.after = after
    return ended


def _taken() -> Server:
    global _owner
    with _lock:
        if _owner != os.getpid():
            # A forked child has copies of its parent's servers, which are not its own to use.
            _idle.clear()
            _owner = os.getpid()
        if _idle:
            return _idle.pop()
    return Server()


def main(fd: int) -> None:
    """The server itself."""
    caller = socket.socket(fileno=fd)
    connection = Connection(os.dup(fd))
    os.set_inheritable(fd, False)
    sys.path[:], folder = pickle.loads(connection.recv_bytes())
    os.chdir(folder)
    last, function = None, None
    while True:
        try:
            pickled, arguments, timeout = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        if pickled != last:
            try:
                last, function = pickled, pickle.loads(pickled)
            except BaseException:
                connection.send_bytes(pickle.dumps(f"the function cannot be imported:\n{traceback.format_exc()}"))
                continue
        try:
            ended = _fork.run(lambda: _called(function, arguments), timeout, caller)
        except _fork.CallerGone:
            return
        map_fd, marks, token = ended.twin.parts()
        with ended:
            connection.send_bytes(pickle.dumps((ended.status, ended.timed_out, ended.seconds, token)))
            socket.send_fds(caller, [b"f"], [map_fd, marks, ended.result])
            # The caller empties it before its next call.
            ended.keep()


def _called(function: Callable[..., Any], arguments: bytes) -> Any:
    args, kwargs = pickle.loads(arguments)
    return function(*args, **kwargs)

