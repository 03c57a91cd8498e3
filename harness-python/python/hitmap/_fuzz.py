"""`fuzz`: a campaign from a script or a notebook.

The campaign is the command line's, in a process of its own with this one's terminal, so a crash of the engine or of
the target leaves the caller untouched. Its workers import the harness's file anew; a harness without a file travels
by cloudpickle.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hitmap import _native, _travel
from hitmap._harness import Harness, what_is_wrong
from hitmap.errors import CampaignError, HarnessError

# The command line's exit codes.
INTERRUPTED = 2
INTERNAL = 3
USAGE = 4

# The longest file of a finding that is read, in bytes.
_LONGEST = 64 << 20

# A worker imports the script under this name (see hitmap.worker).
_WORKER_MODULE = "__mp_main__"


@dataclass(frozen=True)
class Finding:
    """One bug, as the campaign kept it.

    Attributes:
        path: its folder, with ``input``, ``report.json`` and ``traceback.txt``.
        kind: ``exception``, ``signal``, ``exit``, ``timeout``, ``oom`` or ``sanitizer``.
        signature: what tells it from other bugs, 16 hexadecimal digits.
        title: one line for people.
        report: all of ``report.json``, with ``input`` and ``replay`` for where it lies now; empty when that is damaged.
    """

    path: Path
    kind: str
    signature: str
    title: str
    report: dict[str, Any] = field(repr=False)

    @property
    def input(self) -> bytes:
        """The bytes that show the bug."""
        return _native.read_file(self.path / "input", _LONGEST)


@dataclass(frozen=True)
class Result:
    """How a campaign ended.

    Attributes:
        path: the campaign's folder.
        exit_code: 0 for no finding, 1 for findings, 2 when it was interrupted.
        findings: all that the folder holds, earlier sessions' included.
    """

    path: Path
    exit_code: int
    findings: list[Finding]


def fuzz(
    harness: Harness | Callable[[bytes], object],
    seeds: str | os.PathLike[str] | Iterable[bytes] | None = None,
    out: str | os.PathLike[str] = "out",
    workers: int | None = None,
    max_time: float | None = None,
    max_execs: int | None = None,
    seed: int | None = None,
    dictionary: str | os.PathLike[str] | None = None,
    timeout_ms: int | None = None,
    memory_mb: int | None = None,
    arguments: Iterable[str] = (),
) -> Result:
    """Runs a campaign until a budget is spent or Ctrl-C ends it; waits for its end.

    Args:
        harness: what to run; a plain function is taken as ``hitmap.harness(function)``.
        seeds: a folder of initial inputs, or the inputs themselves.
        out: the campaign's folder; one that is there already is resumed.
        workers: processes, one a core; 1 by default.
        max_time: seconds; no limit by default, nor with ``math.inf``.
        max_execs: executions, over all workers.
        seed: of the random generator: with one worker and ``max_execs``, two runs make the same corpus.
        dictionary: a file of tokens, one ``name="value"`` a line, as AFL has them.
        timeout_ms: how long one input may run, in milliseconds.
        memory_mb: how much memory one input may take, in MiB.
        arguments: further arguments of ``hitmap fuzz``, as they stand.

    Raises:
        HarnessError: when the harness cannot travel to the workers.
        CampaignError: when the command line refuses to start, or breaks.
        RuntimeError: when it is called while a worker imports the script.
    """
    if _imported_by_a_worker():
        raise RuntimeError(
            "hitmap.fuzz() was called while a worker imported this file; put the call under "
            '`if __name__ == "__main__":`, because workers import the file anew'
        )
    if max_time == math.inf:
        max_time = None
    if not isinstance(harness, Harness):
        harness = Harness(harness)
    if wrong := what_is_wrong(harness):
        raise HarnessError(wrong)
    out = Path(out)
    with ExitStack() as stack:
        options: list[tuple[str, object]] = [
            ("-i", _seed_folder(seeds, stack)),
            ("-o", out),
            ("-j", workers),
            ("-x", dictionary),
            ("-t", timeout_ms),
            ("-m", memory_mb),
            ("--max-time", max_time),
            ("--max-execs", max_execs),
            ("--seed", seed),
        ]
        command = [sys.executable, "-m", "hitmap", "fuzz", _argument(harness, out)]
        for option, value in options:
            if value is not None:
                command += [option, os.fspath(value) if isinstance(value, os.PathLike) else str(value)]
        code = _run([*command, *arguments])
    if code in (INTERNAL, USAGE) or code < 0:
        why = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        raise CampaignError(f"`hitmap fuzz` {why}; what it wrote above says why")
    return Result(out, code, findings(out))


def findings(out: Path) -> list[Finding]:
    """The findings that a campaign's folder holds, in order of their folders' names.

    One whose report is damaged or gone is a finding, too: its folder's name says which, and its report is empty.
    """
    found = []
    # A name that begins with a dot is a finding that is still being written.
    for path in sorted(out.glob("findings/[!.]*/")):
        kind, _, signature = path.name.rpartition("-")
        try:
            report = json.loads(_native.read_file(path / "report.json", _LONGEST))
        except (OSError, ValueError):
            report = None
        if isinstance(report, dict):
            # Where it lies now, and a command of ours: the folder may come from elsewhere.
            lies = str(path / "input")
            report |= {"input": lies, "replay": shlex.join([sys.executable, "-m", "hitmap", "replay", lies])}
        else:
            if not (path / "input").is_file():
                continue
            report = {}
        found.append(
            Finding(
                path,
                str(report.get("kind", kind)),
                str(report.get("signature", signature)),
                str(report.get("title", "not known, because its report.json is damaged")),
                report,
            )
        )
    return found


def _imported_by_a_worker() -> bool:
    # By its own name: importing multiprocessing makes this an alias of the program itself.
    return getattr(sys.modules.get("__main__"), "__name__", "") == _WORKER_MODULE


# What these two import has handlers for forks, which would run in each of a worker's many children.
def _run(command: list[str]) -> int:
    import subprocess

    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                # The campaign ends in its own order. The terminal told it as well; a signal sent to this process alone
                # did not, and being told twice is no harm.
                process.send_signal(signal.SIGINT)


def _argument(harness: Harness, out: Path) -> str:
    """``FILE:NAME`` of a harness that its file's top level names, otherwise a pickle beside ``out``."""
    module = sys.modules.get(getattr(harness.function, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if file is not None and Path(file).is_file():
        for name, value in vars(module).items():
            if value is harness or value is harness.function:
                return f"{Path(file).resolve()}:{name}"
    # It stays there: replaying a finding or resuming the campaign wants the harness again.
    path = out.resolve().with_name(f"{out.resolve().name}.harness.pkl")
    path.parent.mkdir(parents=True, exist_ok=True)
    remedy = "move it to a .py file, or let it make inside what it holds from outside"
    _replace(path, _travel.pickled(harness, harness.name, remedy, HarnessError))
    return str(path)


def _replace(path: Path, content: bytes) -> None:
    """Under a name that nobody else has taken, then renamed: a link that somebody put there is not followed."""
    import tempfile

    making, name = tempfile.mkstemp(prefix=".hitmap-", dir=path.parent)
    try:
        with open(making, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _seed_folder(seeds: object, stack: ExitStack) -> Path | None:
    if seeds is None:
        return None
    if isinstance(seeds, (str, os.PathLike)):
        folder = Path(seeds)
        if not folder.exists():
            raise FileNotFoundError(f"seeds: {folder} does not exist (looked in {Path.cwd()})")
        return folder
    if isinstance(seeds, (bytes, bytearray)):
        raise TypeError("seeds is a folder, or a list of inputs: seeds=[b'...']")
    import tempfile

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hitmap-seeds-")))
    for number, one in enumerate(seeds):  # type: ignore[arg-type, var-annotated]
        if not isinstance(one, (bytes, bytearray, memoryview)):
            raise TypeError(f"seeds[{number}] is a {type(one).__name__}; an input is bytes")
        (folder / f"seed-{number:06}").write_bytes(bytes(one))
    return folder
