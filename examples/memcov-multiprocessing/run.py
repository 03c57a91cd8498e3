"""Compiles each model in a process of its own, and carries the coverage over."""

import multiprocessing
import sys

import coverage


def compile_one(model, pipe):
    coverage.push()
    coverage.compile_model(model.encode())
    own = coverage.get_now()
    coverage.pop()
    pipe.send((own, coverage.serialize()))


def main(models):
    context = multiprocessing.get_context("fork")
    for model in models:
        before = coverage.get_now()
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=compile_one, args=(model, send))
        child.start()
        send.close()
        try:
            own, data = receive.recv()
        except EOFError:  # the child died before it could send anything
            own, data = 0, None
        child.join()
        # The child had a copy of the map: until here, nothing has changed in this process.
        assert coverage.get_now() == before
        if data is not None:
            coverage.merge(data)
        died = f"  (died: {child.exitcode})" if child.exitcode else ""
        print(f"{model:8} {own:3} edges, {coverage.get_now() - before:3} new, "
              f"{coverage.get_now():3} of {coverage.get_total()} so far{died}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["c", "cr", "cr", "ccrp", "sc", "ccrps", "x"])
