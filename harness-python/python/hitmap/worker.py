"""Python's half of a worker: imports the harness, forks, writes tracebacks.

``hitmap fuzz`` starts it as ``python -m hitmap.worker``; the engine, the descriptors and the loop over inputs are the
business of ``hitmap._native.serve``, which calls back into `Host`. With a harness as its argument it serves AFL++ or
LibAFL instead: `hitmap._afl`.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import importlib.util
import io
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType

from hitmap import _harness, _hypothesis, _native, _preload, _variants
from hitmap._harness import Harness
from hitmap.errors import LoadFailure

# What multiprocessing's spawn calls a script that it imports anew: a name of its own, so that a part under
# `if __name__ == "__main__":` does not run, and so that pickles made by one worker load in another.
MODULE = "__mp_main__"

USAGE = 4

# Whose frames say nothing of a harness that cannot be imported.
NOT_THE_USERS = (str(Path(__file__).parent) + os.sep, "<frozen importlib")

# Characters of a message that stand in a title.
LONGEST = 200

# Bytes of a pickled harness, with all that it refers to.
LONGEST_PICKLE = 1 << 30

# Causes that are followed: a chain can be a ring.
CAUSES = 16

# Frames of the report that are still readable: the inner end of a deep recursion says it all.
INNERMOST = 200


class Host:
    """What the native half asks of Python."""

    def __init__(self, harness: str, variant: str | None = None) -> None:
        self.harness = harness
        self.variant = variant
        # What went wrong before there was somebody to tell.
        self.failure: LoadFailure | None = None
        self.listener: Callable[[int], object] | None = None

    def watch_crashes(self, log: int) -> None:
        """Lets a fatal signal write the Python stack to the descriptor ``log``.

        Under a sanitizer another signal does, which the native half raises at the end: the fatal ones belong to the
        sanitizer, whose report would name the handler otherwise.
        Only the thread that crashed is written: walking others is what hangs a handler. What Python code writes to
        standard error goes there at once: a buffer would die with the process.
        """
        sys.stderr = io.TextIOWrapper(
            io.FileIO(2, "w", closefd=False), encoding="utf-8", errors="backslashreplace", write_through=True
        )
        # A sanitizer may come with the harness's library, later.
        faulthandler.register(_native.STACK_SIGNAL, file=log, all_threads=False)
        if _native.has_sanitizer():
            return
        if sys.version_info >= (3, 14):
            faulthandler.enable(file=log, all_threads=False, c_stack=False)
        else:
            faulthandler.enable(file=log, all_threads=False)

    def load(self) -> Harness:
        """Imports the harness."""
        if self.failure:
            raise self.failure
        if self.variant and not _variants.choose(self.variant, split(self.harness)[0]):
            how = _variants.BUILT_BY[self.variant]
            raise LoadFailure(LoadFailure.NO_VARIANT, f"there is no such build ({self.variant}); `{how}` makes one")
        self.found = load(self.harness)
        self.listener = getattr(self.found.function, "ended", None)
        return self.found

    def settle(self) -> None:
        """Before the first fork: what is alive now lives for ever, so no child's collector touches (and copies) it.

        Collecting is the children's own affair from here on.
        """
        # The engine asks for it; it comes here between two bytecodes.
        signal.signal(_native.SAMPLE_SIGNAL, self.sampled)
        gc.collect()
        gc.freeze()
        gc.disable()

    def sampled(self, number: int, frame: FrameType | None) -> None:
        """Leaves Python's stack beside the native one.

        A line ``frame\\tFILE\\tLINE\\tFUNCTION\\tID`` for each frame of the harness and below, innermost first. As long as
        the frames are kept, no two calls have the same ID.
        """
        kept, lines = [], []
        while frame is not None and frame.f_code.co_filename != __file__ and len(kept) < INNERMOST:
            code = frame.f_code
            lines.append(f"frame\t{code.co_filename}\t{frame.f_lineno or 0}\t{code.co_name}\t{id(frame)}")
            kept.append(frame)
            frame = frame.f_back
        _native.take_sample(_printable("\n".join(lines)), kept)

    def fork(self) -> int:
        if sys.version_info < (3, 12) or len(os.listdir("/proc/self/task")) == 1:
            return os.fork()
        with warnings.catch_warnings():
            # Python 3.12 warns of threads at every fork; the engine says so once.
            warnings.simplefilter("ignore", DeprecationWarning)
            return os.fork()

    def ended(self, status: int) -> None:
        """A child has ended, with what ``waitpid`` says of it."""
        if self.listener:
            self.listener(status)

    def has_comparisons(self) -> bool:
        """Whether a worker on comparison builds would find any."""
        return bool(_variants.folders(_variants.COMPARISONS, split(self.harness)[0]))

    def describe(self, error: BaseException) -> str:
        return describe(error)

    def describe_miss(self, part: str, error: BaseException | None, wrong: str) -> str:
        """What is told when a function of the harness, named by its argument, did not make an input.

        A headline, in which a colon is followed by what may differ each time, a blank line, and the traceback.
        """
        who = f"{part} {_harness.place(getattr(self.found, part))}"
        if error is None:
            return _printable(f"{who} {wrong}")
        name, _, message = title(error).partition(": ")
        frames = traceback.extract_tb(error.__traceback__)
        where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        headline = f"{who} raised {name}{where}" + (f": {message}" if message else "")
        return _printable("".join([headline, "\n\n", *traceback.format_exception(type(error), error, error.__traceback__)]))


def load(argument: str) -> Harness:
    """Finds the harness that ``FILE``, ``FILE:NAME`` or a pickle names.

    Raises:
        LoadFailure: with the reason for the engine to show.
    """
    path, name = split(argument)
    if not path.is_file():
        raise LoadFailure(LoadFailure.NO_FILE, f"{path}: no such file (looked in {Path.cwd()})")
    try:
        found = unpickle(path) if path.suffix == ".pkl" else choose(import_file(path), path, name)
    except LoadFailure:
        raise
    except BaseException as error:  # SystemExit too: a file that exits when it is imported has no harness to give.
        raise LoadFailure(LoadFailure.IMPORT, import_report(error)) from error
    if wrong := _harness.what_is_wrong(found):
        raise LoadFailure(LoadFailure.OTHER, wrong)
    return found


def split(argument: str) -> tuple[Path, str | None]:
    """``FILE`` and ``NAME`` of an argument; a colon in the name of a file or a folder is no separator.

    ``FILE.py::Class::test``, as pytest has it, is ``FILE.py:Class.test``.
    """
    if Path(argument).is_file():
        return Path(argument), None
    for at in (at for at in reversed(range(len(argument))) if argument[at] == ":"):
        name = argument[at:].lstrip(":").replace("::", ".")
        if Path(argument[:at]).is_file() and all(map(str.isidentifier, name.split("."))):
            return Path(argument[:at]), name
    # Nothing is there; the message names the file that was meant.
    if "::" in argument:
        argument, _, rest = argument.partition("::")
        argument += ":" + rest.replace("::", ".")
    file, colon, name = argument.rpartition(":")
    if colon and all(map(str.isidentifier, name.split("."))) and not Path(argument).exists():
        return Path(file), name
    return Path(argument), None


def import_file(path: Path) -> ModuleType:
    """Imports a file as multiprocessing's spawn imports a script.

    Its folder goes to the end of ``sys.path``: a harness that is named like the library it fuzzes must not be imported
    in the library's place.
    """
    path = path.resolve()
    folder = str(path.parent)
    # `python -m` put the current folder first, unless the engine told it not to; it goes last for the same reason.
    here = os.getcwd()
    sys.path[:] = [*(entry for entry in sys.path if entry not in ("", here)), here]
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None:
        raise LoadFailure(LoadFailure.OTHER, f"{path.name} is not a Python file; a harness lives in a .py file")
    module = importlib.util.module_from_spec(spec)
    # Spawned processes of the target look for the script's path, not for our loader.
    module.__spec__ = None
    sys.modules["__main__"] = sys.modules[MODULE] = module
    # What exec_module does, without its frames in every traceback of the user's.
    code = spec.loader.get_code(MODULE)  # type: ignore[attr-defined]
    exec(code, vars(module))
    return module


def unpickle(path: Path) -> Harness:
    """A harness that `hitmap.fuzz` sent because it has no file."""
    found = pickle.loads(_native.read_file(path, LONGEST_PICKLE))
    if not isinstance(found, Harness):
        raise LoadFailure(LoadFailure.OTHER, f"{path.name} holds a {type(found).__name__}, not a harness")
    return found


def choose(module: ModuleType, path: Path, name: str | None) -> Harness:
    """The named harness of a module, or its only one.

    A plain function that is named is taken as it stands, so that a file written for another fuzzer can be tried, and
    so is a test that Hypothesis runs; ``Class.test`` names a method.
    """
    found = _harness.of_module(module)
    if name is not None:
        owner, _, own_name = name.rpartition(".")
        holder = getattr(module, owner, None) if owner else module
        named = getattr(holder, own_name, None)
        if _hypothesis.is_test(named):
            try:
                return Harness(_hypothesis.as_function(named, holder if isinstance(holder, type) else None))
            except _hypothesis.Unsuitable as error:
                raise LoadFailure(LoadFailure.OTHER, str(error)) from None
        if isinstance(named, Harness):
            return named
        if callable(named) and not isinstance(named, type):
            return Harness(named)
        known = [*found, *(test for test, value in vars(module).items() if _hypothesis.is_test(value))]
        raise LoadFailure(LoadFailure.NO_SUCH_HARNESS, ", ".join(known) or "none; decorate one with @hitmap.harness")
    if not found:
        text = f"{path.name} defines no harness; decorate a function that takes bytes with @hitmap.harness"
        raise LoadFailure(LoadFailure.NO_HARNESS, text)
    if len(found) > 1:
        raise LoadFailure(LoadFailure.SEVERAL_HARNESSES, ", ".join(found))
    return next(iter(found.values()))


def import_report(error: BaseException) -> str:
    """The traceback of a failed import without hitmap's own frames, and a hint where there is one.

    Without the line that heads every traceback: the engine's own sentence stands there.
    """
    told = traceback.TracebackException(type(error), error, error.__traceback__)
    told.stack[:] = [frame for frame in told.stack if not frame.filename.startswith(NOT_THE_USERS)]
    text = "".join(told.format())
    text = text.removeprefix("Traceback (most recent call last):\n")
    if isinstance(error, ModuleNotFoundError):
        text += f"({sys.executable} was looking; install it there: {sys.executable} -m pip install ...)\n"
    elif isinstance(error, SystemExit):
        text += 'The file exits when it is imported; put that part under `if __name__ == "__main__":`\n'
    return _printable(text)


def describe(error: BaseException) -> str:
    """What the engine keeps of an exception.

    Title ``TypeName: message`` on one line, blank line, a line ``frame\\tFILE\\tLINE\\tFUNCTION`` for each frame of
    the harness and below, innermost first; for each exception that it was raised from (``__cause__``), in turn, a line
    ``cause\\tTITLE`` and its frames; blank line, traceback.
    """
    lines = [title(error), "", *frame_lines(error)]
    for cause in causes(error):
        lines += [f"cause\t{title(cause)}", *frame_lines(cause)]
    try:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except BaseException as why:
        text = f"(the traceback could not be written: {type(why).__name__})\n"
    return _printable("\n".join([*lines, "", text]))


def frame_lines(error: BaseException) -> list[str]:
    frames = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        frames.append(f"frame\t{code.co_filename}\t{line}\t{code.co_name}")
    return frames[-INNERMOST:][::-1]


def causes(error: BaseException) -> list[BaseException]:
    """What it was raised from, the nearest first. What merely was being handled is no cause."""
    found = [error]
    while (cause := found[-1].__cause__) is not None and len(found) < CAUSES:
        found.append(cause)
    return found[1:]


def title(error: BaseException) -> str:
    """``TypeName: message`` on one line, as the last line of a traceback has it."""
    kind = type(error)
    try:
        name = (
            kind.__qualname__
            if kind.__module__ in ("builtins", "__main__", MODULE)
            else f"{kind.__module__}.{kind.__qualname__}"
        )
    except BaseException:  # A metaclass is code of the target, too.
        name = type.__dict__["__name__"].__get__(kind)
    try:
        # The head of it: a message can hold all of the input, and the frames must fit behind it.
        message = " ".join(str(error)[:1000].split())[:LONGEST]
        message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    except BaseException as why:  # Its __str__ is code of the target, and may exit.
        message = f"(str() of it raised {type(why).__name__})"
    return f"{name}: {message}" if message else name


def _printable(text: str) -> str:
    """Lone surrogates come from bytes that are no UTF-8; shared memory takes only real characters."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        refuse(message)


def refuse(why: str) -> None:
    """Somebody started a worker by hand: says what to start instead, and ends with the code for wrong usage."""
    print(f"hitmap.worker: {why}; `hitmap fuzz HARNESS.py` starts this, it is not started by hand", file=sys.stderr)
    sys.exit(USAGE)


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and (not arguments[0].startswith("-") or arguments[0] in ("-h", "--help")):
        from hitmap import _afl

        return _afl.main(arguments)
    parser = _Parser(prog="python -m hitmap.worker", add_help=False)
    parser.add_argument("--harness", required=True)
    parser.add_argument("--fds", required=True)
    parser.add_argument("--memory-mb", type=int, default=0)
    parser.add_argument("--variant", choices=list(_variants.BUILT_BY))
    options = parser.parse_args(arguments)
    if options.memory_mb < 0:
        refuse("--memory-mb is a number of MiB, 0 for no limit")
    try:
        host = Host(options.harness, options.variant)
        libraries = []
        if options.variant:
            try:
                libraries = _variants.preloads(options.variant, split(options.harness)[0])
            except LoadFailure as failure:
                host.failure = failure
        _preload.ensure(libraries)
        return _native.serve(options.fds, os.environ.get("HITMAP_MAP"), options.memory_mb, host)
    except ValueError as error:
        refuse(str(error))
        raise


if __name__ == "__main__":
    # No exit handlers: those of the target's libraries may wait for threads, and the engine is gone.
    code = main()
    sys.stderr.flush()
    os._exit(code)
