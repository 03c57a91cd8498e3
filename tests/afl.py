"""A fuzzer that speaks AFL++'s fork-server protocol, as small as can be: shared memory, two pipes, one worker.

Written from AFL++'s documents and not from the worker, so that both must be right.
"""

import contextlib
import ctypes
import os
import signal
import struct
import subprocess
import sys

CONTROL, STATUS = 198, 199
VERSION_ONE = 0x41464C01
ENABLED, MAP_SIZE, SHARED_INPUT = 0x80000001, 0x40000000, 0x01000000

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
IPC_CREAT, IPC_EXCL, IPC_RMID = 0o1000, 0o2000, 0


class Segment:
    """System V shared memory. It goes when its last user is gone."""

    def __init__(self, size: int):
        self.id = libc.shmget(0, size, IPC_CREAT | IPC_EXCL | 0o600)
        assert self.id >= 0, os.strerror(ctypes.get_errno())
        address = libc.shmat(self.id, None, 0)
        self.bytes = (ctypes.c_ubyte * size).from_address(address)

    def remove(self):
        libc.shmctl(self.id, IPC_RMID, None)


class Fuzzer:
    """One worker, and this side of the protocol. `way` is how inputs travel: shared, file or stream."""

    def __init__(self, harness, folder, environment, version=0, way="shared", room=1 << 16):
        self.version, self.way = version, way
        self.map, self.inputs = Segment(room), Segment(1 << 16)
        self.input_file = folder / "input"
        self.input_file.write_bytes(b"")
        self.said = folder / "said"
        variables = {"__AFL_SHM_ID": str(self.map.id), "AFL_MAP_SIZE": str(room)}
        if way == "shared":
            variables["__AFL_SHM_FUZZ_ID"] = str(self.inputs.id)
        if version == 1:
            variables["__AFL_SHM_FUZZ_MAP_SIZE"] = str(1 << 16)
        their_control, self.control = os.pipe()
        self.status, their_status = os.pipe()
        command = [sys.executable, "-m", "hitmap.worker", str(harness), *([str(self.input_file)] if way == "file" else [])]

        def place():
            os.dup2(their_control, CONTROL)
            os.dup2(their_status, STATUS)

        # One open file, as AFL++ has it: the worker's offset moves with ours.
        self.stream = open(self.input_file, "r+b", buffering=0)
        with open(self.said, "w") as said:
            self.worker = subprocess.Popen(
                command, env={**environment, **variables}, stdin=self.stream if way == "stream" else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=said, preexec_fn=place, close_fds=False,
            )  # fmt: skip
        os.close(their_control)
        os.close(their_status)
        self.size = None
        self.killed = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()
        self.worker.kill()
        self.worker.wait()
        self.map.remove()
        self.inputs.remove()

    def leave(self):
        for fd in (self.control, self.status):
            with contextlib.suppress(OSError):
                os.close(fd)

    def hear(self) -> int | None:
        """The next word; None when the worker is gone."""
        got = os.read(self.status, 4)
        return struct.unpack("=I", got)[0] if len(got) == 4 else None

    def say(self, word: int) -> None:
        os.write(self.control, struct.pack("=I", word))

    def greet(self) -> bool:
        """The hello; False when the worker ended without one."""
        hello = self.hear()
        if hello is None:
            return False
        if self.version == 1:
            assert hello == VERSION_ONE
            self.say(hello ^ 0xFFFFFFFF)
            options = self.hear()
            assert options == (1 | (2 if self.way == "shared" else 0))
            self.size = self.hear()
            assert self.hear() == VERSION_ONE
            return True
        assert hello & ENABLED == ENABLED and hello & MAP_SIZE
        self.size = ((hello & 0x00FFFFFE) >> 1) + 1
        assert bool(hello & SHARED_INPUT) == (self.way == "shared")
        if self.way == "shared":
            self.say(ENABLED | SHARED_INPUT)
        return True

    def begin(self, data: bytes) -> int | None:
        """Asks for a run; gives the child's process id."""
        if self.way == "shared":
            self.inputs.bytes[: 4 + len(data)] = struct.pack("=I", len(data)) + data
        else:
            self.stream.seek(0)
            self.stream.write(data)
            self.stream.truncate()
            self.stream.seek(0)
        ctypes.memset(self.map.bytes, 0, len(self.map.bytes))
        self.say(self.killed)
        self.killed = 0
        return self.hear()

    def run(self, data: bytes) -> int:
        """The wait status of a run."""
        assert self.begin(data), self.said.read_text()
        status = self.hear()
        assert status is not None, self.said.read_text()
        return status

    def kill(self, pid: int, number=signal.SIGKILL) -> None:
        """As a fuzzer does it when a run takes too long."""
        os.kill(pid, number)
        self.killed = 1

    def touched(self) -> dict[int, int]:
        """Places that are not 0."""
        return {at: count for at, count in enumerate(bytes(self.map.bytes)) if count}
