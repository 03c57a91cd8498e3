"""Runs a function of a large library in a child again and again, one way or the other; prints what a run cost.

`measure.py LIBRARY isolated|manager`: CPU milliseconds and wall milliseconds a run, of this process and its children.
"""

import ctypes
import multiprocessing
import resource
import sys
import time

import hitmap
from hitmap.compat import memcov

RUNS = 40
EDGES = 20_000
# Neither side's first runs count: they make what later ones use.
WARM = 5


def isolated(library: ctypes.CDLL, runs: int) -> None:
    """hitmap's way: the run's own coverage, and what of it is new."""
    history = hitmap.History()
    for number in range(runs):
        run = hitmap.isolated(library.run, EDGES, number, timeout=60)
        assert run.outcome == "ok" and run.coverage.hits == EDGES, run
        assert history.update(run)


def manager(library: ctypes.CDLL, runs: int) -> None:
    """Tzer's way: a Manager for each run, through which the child hands its number and its whole map."""
    context = multiprocessing.get_context("fork")
    memcov.reset()
    for number in range(runs):
        with context.Manager() as shared:
            result = shared.dict()
            child = context.Process(target=_child, args=(library, number, result))
            child.start()
            child.join(60)
            before = memcov.get_now()
            # It asks the Manager twice, and each answer is a copy.
            if before < result["cov"][0]:
                now, hits = result["cov"]
                memcov.set_now(now)
                memcov.set_hitmap(hits)
            assert before < memcov.get_now()


def _child(library: ctypes.CDLL, number: int, result) -> None:
    try:
        library.run(EDGES, number)
    finally:
        result["cov"] = memcov.get_now(), memcov.get_hitmap()


def cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main(path: str, way: str) -> None:
    library = ctypes.CDLL(path)
    run = {"isolated": isolated, "manager": manager}[way]
    run(library, WARM)
    began, started = cpu(), time.perf_counter()
    run(library, RUNS)
    spent, took = cpu() - began, time.perf_counter() - started
    print(spent / RUNS * 1e3, took / RUNS * 1e3)


if __name__ == "__main__":
    main(*sys.argv[1:])
