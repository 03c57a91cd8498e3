"""Plays the engine against a real worker: makes the shared files, speaks the control protocol, reads verdicts.

The layouts are those of the crate hitmap-wire, written down once more on purpose: a second reading of the contract.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096
SLOTS, OBJECTS, REPORT, FRAMES = 4096, 512, 256 << 10, 128
SLOTS_AT = PAGE
OBJECTS_AT = SLOTS_AT + SLOTS * 32
REPORT_AT = OBJECTS_AT + OBJECTS * 512
ARENA_AT = REPORT_AT + REPORT
ARENA = 1 << 20
# The crash note is 24 bytes and its frames; `enough` has four bytes and four of padding.
TIMES_AT = 48 + 24 + 8 * FRAMES + 8
RECORDS_AT, RECORD = PAGE, 1024

RUN, OBSERVE, MUTATE, TIME = 1, 2, 3, 4
FORK, KILL, READY, FAILED, FORKED, EXITED = 1, 2, 16, 17, 18, 19
OK, REJECTED, EXCEPTION, EXIT, OUT_OF_MEMORY = 1, 2, 3, 5, 7
COUNTERS, FLAGS, GUARDS = 1, 2, 4
TOKEN = 0x1234

# Guards against hanging for ever; no test measures time.
PATIENCE = 60


@dataclass(frozen=True)
class Verdict:
    """What the child said of one slot; outcome 0 means that it was not run."""

    outcome: int
    edge: int = 0
    klass: int = 0
    value: int = 0
    signature: int = 0


@dataclass(frozen=True)
class Crash:
    signal: int
    code: int
    address: int
    frames: list[int]


@dataclass(frozen=True)
class Loaded:
    start: int
    end: int
    path: str


@dataclass(frozen=True)
class Weight:
    runs: int
    resident_kib: int
    heap: int
    blocks: int


class Died(Exception):
    """The child ended in mid-batch."""

    def __init__(self, status: int):
        super().__init__(f"wait status {status}")
        self.status = status
        self.signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        self.code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


def memory(name: str, length: int) -> int:
    fd = os.memfd_create(name)
    os.ftruncate(fd, length)
    return fd


class Engine:
    """One worker and all that it shares."""

    def __init__(self, harness: str | Path, *, edges: int = 8192, memory_mb: int = 0, environment=None, cwd=None, variant=None):
        self.capacity = (edges + PAGE - 1) // PAGE * PAGE + PAGE
        self.counters_at = PAGE + 1024 * RECORD
        self.flags_at = self.counters_at + self.capacity + PAGE // 2
        # Flags, the other half page, journal, comparison log.
        end = self.flags_at + self.capacity + PAGE // 2 + 4 * self.capacity + 64 + 4096 + 80 * 16384
        length = (end + PAGE - 1) // PAGE * PAGE
        self.fds = {
            "region": memory("region", length),
            "history": memory("history", self.capacity),
            "batch": memory("batch", ARENA_AT + ARENA),
            "log": memory("log", 0),
        }
        self.region, self.history, self.batch = (
            mmap.mmap(self.fds[name], os.fstat(self.fds[name]).st_size) for name in ("region", "history", "batch")
        )
        struct.pack_into("<8sIIQIII", self.region, 0, b"hitmap\0R", 3, self.capacity, TOKEN, 1, 0, PAGE)
        struct.pack_into("<8sII", self.batch, 0, b"hitmap\0B", 1, ARENA)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(PATIENCE)
        self.fds |= {"control": theirs.detach(), "wake": os.eventfd(0), "done": os.eventfd(0)}
        names = ("region", "history", "batch", "log", "control", "wake", "done")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "hitmap.worker", "--harness", str(harness),
                "--fds", ",".join(str(self.fds[name]) for name in names), "--memory-mb", str(memory_mb),
                *(["--variant", variant] if variant else []),
            ],
            pass_fds=[self.fds[name] for name in names],
            env={**os.environ, "HITMAP_MAP": f"fd:{self.fds['region']}:{TOKEN:016x}", **(environment or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        os.close(self.fds.pop("control"))
        self.pid: int | None = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_) -> None:
        self.control.close()
        self.process.kill()
        self.process.communicate()
        for fd in self.fds.values():
            os.close(fd)

    # The socket.

    def say(self, kind: int, value: int = 0) -> None:
        self.control.send(struct.pack("<IiQ16x", kind, value, 0))

    def hear(self) -> tuple[int, int, int]:
        packet = self.control.recv(64)
        assert len(packet) == 32, f"the server is gone: {self.log()}"
        return struct.unpack("<IiQ16x", packet)

    def start(self) -> Engine:
        """Waits for the import and forks the first child."""
        kind, _, self.threads = self.hear()
        assert kind == READY, self.report()
        return self.fork()

    def fork(self) -> Engine:
        self.say(FORK)
        kind, _, self.pid = self.hear()
        assert kind == FORKED, self.report()
        return self

    def end(self, number: int = signal.SIGKILL) -> int:
        """Ends the child; gives its wait status."""
        self.say(KILL, number)
        kind, status, _ = self.hear()
        assert kind == EXITED
        return status

    # Batches.

    def header(self, phase: int, count: int) -> None:
        struct.pack_into("<II", self.batch, 16, phase, count)

    @property
    def cur(self) -> int:
        return struct.unpack_from("<I", self.batch, 24)[0]

    @property
    def nanos(self) -> int:
        return struct.unpack_from("<Q", self.batch, 40)[0]

    def stage(self, inputs: list[bytes]) -> None:
        offset = 0
        for at, data in enumerate(inputs):
            self.batch[ARENA_AT + offset : ARENA_AT + offset + len(data)] = data
            struct.pack_into("<IIII", self.batch, SLOTS_AT + 32 * at, offset, len(data), 0, 0)
            offset += len(data)

    def wake(self) -> None:
        """Wakes the child and waits until it is through; raises `Died` when it ended."""
        os.eventfd_write(self.fds["wake"], 1)
        ready, _, _ = select.select([self.fds["done"], self.control], [], [], PATIENCE)
        assert ready, f"the child hangs at {self.cur}: {self.log()}"
        if self.fds["done"] in ready:
            os.eventfd_read(self.fds["done"])
            return
        kind, status, _ = self.hear()
        assert kind == EXITED
        raise Died(status)

    def run(self, *inputs: bytes, phase: int = RUN) -> list[Verdict]:
        self.clear_notes()
        self.stage(list(inputs))
        self.header(phase, len(inputs))
        self.wake()
        assert self.cur == len(inputs)
        return [self.verdict(at) for at in range(len(inputs))]

    def observe(self, data: bytes) -> Verdict:
        return self.run(data, phase=OBSERVE)[0]

    def verdict(self, at: int) -> Verdict:
        return Verdict(*struct.unpack_from("<IIIIQ", self.batch, SLOTS_AT + 32 * at + 8))

    def clear_notes(self) -> None:
        struct.pack_into("<I", self.batch, 28, 0)
        struct.pack_into("<I", self.batch, 48, 0)

    def crash(self) -> Crash | None:
        number, code, address, count = struct.unpack_from("<IIQI", self.batch, 48)
        assert count <= FRAMES
        frames = list(struct.unpack_from(f"<{count}Q", self.batch, 48 + 24))
        return Crash(number, code, address, frames) if number else None

    def times(self) -> tuple[int, int]:
        """Nanoseconds in the harness and with the map: behind the crash note and `enough`."""
        return struct.unpack_from("<QQ", self.batch, TIMES_AT)

    def weight(self) -> Weight:
        return Weight(*struct.unpack_from("<QQQQ", self.batch, TIMES_AT + 16))

    def report(self) -> str:
        (length,) = struct.unpack_from("<I", self.batch, 28)
        return self.batch[REPORT_AT : REPORT_AT + length].decode()

    def objects(self) -> list[Loaded]:
        (count,) = struct.unpack_from("<I", self.batch, 32)
        found = []
        for at in range(count):
            start, end, _bias = struct.unpack_from("<QQQ", self.batch, OBJECTS_AT + 512 * at)
            (length,) = struct.unpack_from("<I", self.batch, OBJECTS_AT + 512 * at + 60)
            path = self.batch[OBJECTS_AT + 512 * at + 64 :][:length].decode()
            found.append(Loaded(start, end, path))
        return found

    def log(self) -> str:
        return os.pread(self.fds["log"], 1 << 20, 0).decode(errors="replace")

    # The map.

    def distrust_journal(self) -> None:
        """Says that it lost entries, as the engine does when a child ends."""
        struct.pack_into("<I", self.region, 144, 1 << 31)

    def enter_module(self, at: int, edges: int, base: int, kind: int = COUNTERS | FLAGS) -> None:
        """Enters a library, as the runtime does when one is loaded."""
        record = RECORDS_AT + RECORD * at
        struct.pack_into("<IIIIQQI", self.region, record, 1, kind, base, edges, 0, 0, 1)
        self.region[record + 36] = at + 1
        struct.pack_into("<I", self.region, 28, at + 1)

    def counter(self, edge: int) -> int:
        return self.region[self.counters_at + edge]


@contextlib.contextmanager
def worker(harness: str | Path, **options):
    """A worker with its first child."""
    with Engine(harness, **options) as engine:
        yield engine.start()


def is_alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_close_on_exec(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
