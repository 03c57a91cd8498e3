"""`count.py RUNTIME LIBRARY`: prints a library's edges, those that its `work` hits, and the events of one call of it."""

import ctypes
import sys


def main(runtime: str, library: str) -> None:
    callback = ctypes.CDLL(runtime, ctypes.RTLD_GLOBAL)
    work = ctypes.CDLL(library).work
    events = ctypes.c_uint64.in_dll(callback, "events")
    # The first call also makes what is worked on.
    work()
    before = events.value
    work()
    edges, hit = (ctypes.c_uint32.in_dll(callback, name).value for name in ("events_edges", "events_hit"))
    print(edges, hit, events.value - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
