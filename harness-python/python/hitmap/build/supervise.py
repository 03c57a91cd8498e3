"""Runs one command and ends all that it started, when it ends or when whoever asked for it is gone.

    python supervise.py COMMAND ...     with a pipe as standard input, which the asker holds open

Owns the processes below it: it adopts those whose parents end, whatever session or group they went into (ninja gives
each compiler a group of its own). Knows nothing of pip. Started as a file, so that it needs nothing but the standard library.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GRACE = 2.0     # seconds between SIGTERM and SIGKILL
LOOK = 0.02     # seconds between two looks at processes that were asked to end


def main(command):
    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    process = start(command)
    status = None
    try:
        status = wait(process, wake)
    finally:
        end_all()
    return 128 + signal.SIGTERM if status is None else status


def prctl(option, value):
    """Linux alone has it; elsewhere only what stays below us is found."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def start(command):
    """The command in a session of its own, with an empty standard input."""
    process = os.fork()
    if process:
        return process
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(127)


def wait(process, wake):
    """The command's exit status as shells have it; None when the asker is gone or a signal asks us to end."""
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                if set(os.read(wake, 512)) - {signal.SIGCHLD}:
                    return None
        if 0 in ready and not os.read(0, 512):
            return None
        for number, status in reaped():
            if number == process:
                code = os.waitstatus_to_exitcode(status)
                return 128 - code if code < 0 else code


def reaped():
    """The children that ended since the last look."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found


def end_all():
    """Ends every process below this one: asks, and after a while does not ask."""
    until = time.monotonic() + GRACE
    asked = set()
    while left := below(os.getpid()):
        late = time.monotonic() >= until
        for process in left - asked if not late else left:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL if late else signal.SIGTERM)
        asked |= left
        time.sleep(LOOK)
        for _ in reaped():
            pass


def below(top):
    """Every process that descends from `top`, those that wait to be reaped left out."""
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        # A dead one may still be the parent of living ones, in the moment before they are handed on.
        children.setdefault(int(parent), []).append((int(name), state))
    found, open_ones = set(), [top]
    while open_ones:
        for process, state in children.get(open_ones.pop(), []):
            open_ones.append(process)
            if state not in (b"Z", b"X"):
                found.add(process)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
