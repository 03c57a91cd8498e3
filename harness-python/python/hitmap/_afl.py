"""A worker for another fuzzer: AFL++, or LibAFL's fork-server executor.

    AFL_SKIP_BIN_CHECK=1 afl-fuzz -i SEEDS -o OUT -- python -m hitmap.worker HARNESS.py

What the fuzzer shares is named by its environment variables; the protocol is the business of
``hitmap._native.serve_afl``. Started by hand, the same command says whether a fuzzer would be served: what goes wrong
under afl-fuzz goes to a standard error that it does not show.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from hitmap import _native
from hitmap._harness import Harness
from hitmap.errors import LoadFailure
from hitmap.worker import USAGE, Host

HELP = """\
usage: python -m hitmap.worker HARNESS.py[:NAME] [INPUT]

Runs a harness for AFL++ or for LibAFL's ForkserverExecutor. INPUT is where the fuzzer writes inputs, afl-fuzz's @@;
without it they come by shared memory or standard input.

  AFL_SKIP_BIN_CHECK=1 afl-fuzz -i SEEDS -o OUT -- python -m hitmap.worker HARNESS.py

Started by hand it says what a fuzzer will find. hitmap's own fuzzer is `hitmap fuzz HARNESS.py`.
"""

BROKEN = 3


class AflHost(Host):
    """What the native half asks of Python."""

    def load(self) -> Harness:
        found = super().load()
        if _native.total() == 0:
            refused = [module.path for module in _native.modules() if module.refused]
            text = (
                f"the map is too small for {', '.join(refused)}; set AFL_MAP_SIZE"
                if refused
                else "no instrumented library is loaded when its file is imported, so a fuzzer has nothing to be guided "
                "by; build the extension with coverage (hitmap build PACKAGE) and import it at the top of the file"
            )
            raise LoadFailure(LoadFailure.OTHER, text)
        return found


def version(environment: Mapping[str, str]) -> int:
    """The protocol to greet with: a fuzzer's wish cannot be seen before the hello.

    All that speak version 1 understand the old one, and Debian's 4.04c knows no other. So version 1 is for those who
    show that they are newer, by a variable that 4.04c does not set.
    """
    if "AFL_OLD_FORKSERVER" in environment:
        return 0
    return int("__AFL_SHM_FUZZ_MAP_SIZE" in environment)


def main(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(HELP, end="")
        return 0
    if not 1 <= len(arguments) <= 2:
        print(HELP, end="", file=sys.stderr)
        return USAGE
    host = AflHost(arguments[0])
    file = arguments[1] if len(arguments) == 2 else None
    try:
        if "__AFL_SHM_ID" not in os.environ:
            return check(host)
        return _native.serve_afl(
            os.environ["__AFL_SHM_ID"], os.environ.get("__AFL_SHM_FUZZ_ID"), file, version(os.environ), host
        )
    except LoadFailure as failure:
        return say(failed(arguments[0], failure), USAGE)
    except ValueError as error:
        return say(str(error), USAGE)
    except OSError as error:
        return say(str(error), BROKEN)


def check(host: AflHost) -> int:
    """Imports the harness and says what a fuzzer would find."""
    host.load()
    for module in _native.modules():
        if module.edges:
            print(f"{module.edges:>9,} edges  {module.path}")
    size = 1 + _native.total()
    print(f"{size:>9,} bytes of map, for which AFL_MAP_SIZE={size} is enough")
    print(f"ready: AFL_SKIP_BIN_CHECK=1 afl-fuzz -i SEEDS -o OUT -- python -m hitmap.worker {host.harness}", flush=True)
    return 0


def failed(harness: str, failure: LoadFailure) -> str:
    """The sentence for a harness that is not to be had."""
    if failure.code == LoadFailure.IMPORT:
        return f"{harness}: importing it raised:\n{failure.text}"
    if failure.code == LoadFailure.SEVERAL_HARNESSES:
        return f"{harness}: several harnesses in it ({failure.text}); name one, as in FILE.py:NAME"
    if failure.code == LoadFailure.NO_SUCH_HARNESS:
        return f"{harness}: no such harness; there is {failure.text}"
    return failure.text if failure.code == LoadFailure.NO_FILE else f"{harness}: {failure.text}"


def say(why: str, code: int) -> int:
    print(f"hitmap.worker: {why}", file=sys.stderr)
    return code
