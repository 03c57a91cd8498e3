"""replay.py LIBRARY FOLDER…: prints the edges that all files reach, as JSON.

Files run in forked children, many each. A child adds its flags to shared memory after every input, so an input that
kills it costs only itself: the next child goes on behind it.
"""

import ctypes
import json
import mmap
import os
import signal
import sys
from pathlib import Path

# An input that takes longer than this many seconds is left out.
PATIENCE = 20

library = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
library.yardstick_copy.restype = ctypes.c_size_t
library.yardstick_copy.argtypes = [ctypes.c_void_p]

from call import run  # noqa: E402  the library comes first

library.yardstick_reset()
total = library.yardstick_copy(None)
if total == 0:
    sys.exit("nothing is instrumented")
union = mmap.mmap(-1, total)
flags = (ctypes.c_ubyte * total).from_buffer(union)
done = mmap.mmap(-1, 8)

files = [
    path
    for folder in sys.argv[2:]
    for path in sorted(Path(folder).rglob("*"))
    if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
]


def replay(start):
    for at in range(start, len(files)):
        done[:] = (at + 1).to_bytes(8, "little")
        data = files[at].read_bytes()
        signal.alarm(PATIENCE)
        try:
            run(data)
        except Exception:
            pass
        signal.alarm(0)
        library.yardstick_copy(ctypes.addressof(flags))
    os._exit(0)


at = 0
while at < len(files):
    if (pid := os.fork()) == 0:
        replay(at)
    _, status = os.waitpid(pid, 0)
    if status == 0:
        break
    at = int.from_bytes(done[:], "little")

print(json.dumps({"edges": sum(flags), "total": total, "files": len(files)}))
