"""CPU seconds of a command and of every process that comes from it.

The kernel adds a process's time to its parent's when the parent waits for it. So this process makes itself the one that
orphans are given to (a subreaper), waits for everybody, and reads one number. A grandchild that was killed counts like
any other; nothing is sampled, so nothing that lives shortly is missed. What is lost is the time of children whose
parent ignores SIGCHLD: nobody waits for those.

While the command runs, the same sum is estimated from /proc, to end it at a budget.

One command at a time: the number belongs to the whole process.
"""

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")
# How often a running command is looked at, and how long it may take to end once it is asked to.
LOOK = 0.02
FAREWELL = 20


@dataclass(frozen=True)
class Usage:
    """What a command took. `stopped` is the CPU time at which it was asked to end, or `None`."""

    cpu: float
    wall: float
    code: int
    stopped: float | None = None


def measure(
    command: Sequence[str | Path],
    env: Mapping[str, str],
    folder: Path,
    log: Path,
    patience: float,
    enough: Callable[[float], bool] = lambda cpu: False,
    farewell: int = signal.SIGINT,
) -> Usage:
    """Runs `command` in `folder`, its output in `log`, and kills whatever it leaves behind.

    `enough` is asked about the CPU seconds so far; once it says yes, the command is sent `farewell`.

    Raises:
        TimeoutError: when it runs for longer than `patience` seconds.
    """
    adopt_orphans()
    before, start, stopped = spent(), time.monotonic(), None
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        code = None
        while code is None:
            if time.monotonic() > start + patience:
                raise TimeoutError(f"{Path(command[0]).name} did not end within {patience:.0f} s; see {log}")
            if stopped is None and enough(so_far := spent() - before + living()):
                stopped = so_far
                process.send_signal(farewell)
                patience = min(patience, time.monotonic() - start + FAREWELL)
            try:
                code = process.wait(LOOK)
            except subprocess.TimeoutExpired:
                pass
    finally:
        wall = time.monotonic() - start
        end_all(process)
    return Usage(spent() - before, wall, code, stopped)


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parents die."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def spent() -> float:
    """CPU seconds of all descendants that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def living() -> float:
    """CPU seconds of descendants that still live, and of those that they waited for; to a tick of the kernel's clock."""
    below: dict[int, list[tuple[int, float]]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        if fields := stat(pid):
            # The four fields are user and system time, its own and that of its children.
            below.setdefault(int(fields[1]), []).append((pid, sum(map(int, fields[11:15])) / TICKS))
    total, parents = 0.0, [os.getpid()]
    while parents:
        for pid, seconds in below.get(parents.pop(), []):
            total += seconds
            parents.append(pid)
    return total


def end_all(process: subprocess.Popen[bytes]) -> None:
    """Kills and reaps children, and theirs as they become ours, until none is left."""
    if process.poll() is None:
        process.kill()
        process.wait()
    while True:
        for child in children():
            os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def children() -> list[int]:
    """Children of this process, which only this process reaps, so the ids stay theirs."""
    every = map(int, filter(str.isdigit, os.listdir("/proc")))
    return [pid for pid in every if (fields := stat(pid)) and int(fields[1]) == os.getpid()]


def stat(pid: int) -> list[str]:
    """The fields of a process after its name, the parent's number second; none when it is gone."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The second field is the name, in brackets, and may hold anything.
    return line.rpartition(")")[2].split()
