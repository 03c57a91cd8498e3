"""Plays the engine against a real worker: makes the shared files, speaks the control protocol, reads verdicts.

The layouts are those of the crate hitmap-wire, written down once more on purpose: a second reading of the contract.
"""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import functools
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096
SLOTS, OBJECTS, PATHS, RECORDS, SAMPLES = 4096, 512, 1 << 20, 1 << 20, 16
FRAMES, OUTER, TYPE, TEXT = 128, 64, 256, 1024
NO_FRAME = 0xFFFF_FFFF
# Four numbers, then the frames.
STACK = 16 + 8 * FRAMES + 8 * OUTER
OBJECT = 72
# Ten numbers, the stack, the thrown type, the text.
DEATH, SAMPLE = 40 + STACK + TYPE + TEXT, 8 + STACK
SLOTS_AT = PAGE
OBJECTS_AT = SLOTS_AT + SLOTS * 32
PATHS_AT = OBJECTS_AT + OBJECTS * OBJECT
DEATH_AT = PATHS_AT + PATHS
SAMPLES_AT = DEATH_AT + DEATH
RECORDS_AT = SAMPLES_AT + SAMPLES * SAMPLE
ARENA_AT = RECORDS_AT + RECORDS
ARENA = 1 << 20
# `enough` has four bytes and four of padding.
TIMES_AT = 48 + 8
MODULES_AT, MODULE = PAGE, 1024

RUN, OBSERVE, MUTATE, TIME = 1, 2, 3, 4
FORK, KILL, READY, FAILED, FORKED, EXITED = 1, 2, 16, 17, 18, 19
OK, REJECTED, EXCEPTION, EXIT, OUT_OF_MEMORY = 1, 2, 3, 5, 7
SIGNALLED, REPORTED, TERMINATED, EXITED_BY_CALL = 1, 2, 3, 4
STACK_ENDED, FROM_OUTSIDE, BAD_ALLOC = 1, 2, 4
TEXT_RECORD, RAISED, THROWN, THROWN_TYPE, PYTHON = 1, 2, 3, 4, 5
ANYWHERE, BETWEEN_BYTECODES = 1, 2
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
class Stack:
    """Return addresses, innermost first; `outer` are the outermost ones of a stack that is deeper."""

    frames: list[int]
    outer: list[int]
    interrupted: int | None
    depth: int


@dataclass(frozen=True)
class Death:
    how: int
    signal: int
    code: int
    flags: int
    address: int
    sender: int
    thread: int
    thrown: str
    text: str
    stack: Stack


@dataclass(frozen=True)
class Record:
    slot: int
    kind: int
    bytes: bytes

    @property
    def text(self) -> str:
        return self.bytes.decode()

    @property
    def addresses(self) -> list[int]:
        return [word for (word,) in struct.iter_unpack("<Q", self.bytes)]


@dataclass(frozen=True)
class Loaded:
    start: int
    end: int
    bias: int
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
        self.counters_at = PAGE + 1024 * MODULE
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
        struct.pack_into("<8sII", self.batch, 0, b"hitmap\0B", 2, ARENA)
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
        self.wait()

    def wait(self) -> None:
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
        struct.pack_into("<I", self.batch, DEATH_AT, 0)
        for at in range(SAMPLES):
            struct.pack_into("<I", self.batch, SAMPLES_AT + SAMPLE * at, 0)

    def death(self) -> Death | None:
        numbers = struct.unpack_from("<IiiIQIIII", self.batch, DEATH_AT)
        *numbers, thrown, text = numbers
        if numbers[0] == 0:
            return None
        thrown_at = DEATH_AT + 40 + STACK
        texts = (
            self.batch[at : at + min(length, room)].decode(errors="replace")
            for at, length, room in ((thrown_at, thrown, TYPE), (thrown_at + TYPE, text, TEXT))
        )
        return Death(*numbers, *texts, self.stack(DEATH_AT + 40))

    def stack(self, at: int) -> Stack:
        count, outer, interrupted, depth = struct.unpack_from("<IIII", self.batch, at)
        assert count <= FRAMES and outer <= OUTER
        frames = list(struct.unpack_from(f"<{count}Q", self.batch, at + 16))
        outer = list(struct.unpack_from(f"<{outer}Q", self.batch, at + 16 + 8 * FRAMES))
        return Stack(frames, outer, interrupted if interrupted < count else None, depth)

    def samples(self) -> list[tuple[int, Stack]]:
        found = []
        for at in range(SAMPLES):
            (moment,) = struct.unpack_from("<I", self.batch, SAMPLES_AT + SAMPLE * at)
            if moment == 0:
                break
            found.append((moment, self.stack(SAMPLES_AT + SAMPLE * at + 8)))
        return found

    def times(self) -> tuple[int, int]:
        """Nanoseconds in the harness and with the map: behind `enough`."""
        return struct.unpack_from("<QQ", self.batch, TIMES_AT)

    def weight(self) -> Weight:
        return Weight(*struct.unpack_from("<QQQQ", self.batch, TIMES_AT + 16))

    def records(self) -> list[Record]:
        (length,) = struct.unpack_from("<I", self.batch, 28)
        at, end, found = RECORDS_AT, RECORDS_AT + min(length, RECORDS), []
        while at < end:
            slot, kind, size, _ = struct.unpack_from("<IIII", self.batch, at)
            found.append(Record(slot, kind, self.batch[at + 16 : at + 16 + size]))
            at += 16 + (size + 7) // 8 * 8
        return found

    def report(self) -> str:
        return next((record.text for record in self.records() if record.kind == TEXT_RECORD), "")

    def objects(self) -> list[Loaded]:
        (count,) = struct.unpack_from("<I", self.batch, 32)
        found = []
        for at in range(count):
            start, end, bias = struct.unpack_from("<QQQ", self.batch, OBJECTS_AT + OBJECT * at)
            path_at, length = struct.unpack_from("<II", self.batch, OBJECTS_AT + OBJECT * at + 60)
            path = self.batch[PATHS_AT + path_at : PATHS_AT + path_at + length].decode()
            found.append(Loaded(start, end, bias, path))
        return found

    def log(self) -> str:
        return os.pread(self.fds["log"], 1 << 20, 0).decode(errors="replace")

    # The map.

    def distrust_journal(self) -> None:
        """Says that it lost entries, as the engine does when a child ends."""
        struct.pack_into("<I", self.region, 144, 1 << 31)

    def enter_module(self, at: int, edges: int, base: int, kind: int = COUNTERS | FLAGS) -> None:
        """Enters a library, as the runtime does when one is loaded."""
        record = MODULES_AT + MODULE * at
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


@functools.cache
def functions_of(library: str) -> list[tuple[int, str]]:
    said = subprocess.run(["nm", "--defined-only", library], check=False, capture_output=True, text=True).stdout
    parts = [line.split() for line in said.splitlines()]
    return sorted((int(address, 16), name) for address, kind, name in parts if kind in "tTwW")


def names_of(engine: Engine, frames: list[int]) -> list[str]:
    """The functions of a stack: those of a test's own libraries by name, others by their file."""
    found, objects = [], engine.objects()
    for frame in frames:
        owner = next((o for o in objects if o.start <= frame - 1 < o.end), None)
        if owner is None:
            found.append("?")
        elif owner.path.startswith(tempfile.gettempdir() + "/pytest-"):
            table = functions_of(owner.path)
            at = bisect.bisect(table, (frame - 1 - owner.bias, "~")) - 1
            found.append(table[at][1].removesuffix(".localalias"))
        else:
            found.append(f"[{Path(owner.path).name}]")
    return found


def is_alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_close_on_exec(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
