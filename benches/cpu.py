"""CPU seconds of a command and of every process that comes from it.

The kernel adds a process's time to its parent's when the parent waits for it. So this process makes itself the one that
orphans are given to (a subreaper), waits for everybody, and reads one number. A grandchild that was killed counts like
any other; nothing is sampled, so nothing that lives shortly is missed. What is lost is the time of children whose
parent ignores SIGCHLD: nobody waits for those.

One command at a time: the number belongs to the whole process.
"""

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Usage:
    """What a command took."""

    cpu: float
    wall: float
    code: int


def measure(command: Sequence[str | Path], env: Mapping[str, str], folder: Path, log: Path, patience: float) -> Usage:
    """Runs `command` in `folder`, its output in `log`, and kills whatever it leaves behind.

    Raises:
        TimeoutError: when it runs for longer than `patience` seconds.
    """
    adopt_orphans()
    before, start = spent(), time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        code = process.wait(patience)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{Path(command[0]).name} did not end within {patience:.0f} s; see {log}") from None
    finally:
        wall = time.monotonic() - start
        end_all(process)
    return Usage(spent() - before, wall, code)


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parents die."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def spent() -> float:
    """CPU seconds of all descendants that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


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
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if parent(pid) == os.getpid()]


def parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the name, in brackets, and may hold anything.
    return int(stat.rpartition(")")[2].split()[1])
