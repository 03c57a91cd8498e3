"""Why a compilation failed: the compiler's first error, and whether kept asserts are the cause.

Runs after a compiler that failed, with the same command line, and asks clang for a syntax check alone. Writes what it
found into the log that `wrapper` keeps: `failed SOURCE`, `error TEXT`, `asserts SOURCE`. Build systems bury compilers' words
below their own, and some go on without the file.
"""

import subprocess

from . import wrapper

KEEP_ASSERTS = "-UNDEBUG"


def main(words, cxx):
    options = wrapper.Options()
    rest = [word for word in words if not options.take(word)]
    command = wrapper.arguments.read(rest, cxx)
    if options.log is None or not command.compiles or wrapper.is_check(command):
        return
    first = errors(words, cxx)
    if first is None:
        # Neither wrong C nor wrong C++; where it links, nor are the sources to blame.
        lines = [] if command.links else [f"failed {source}" for source in command.sources]
    else:
        lines = [f"failed {source}" for source in command.sources] + [f"error {first}"]
        if KEEP_ASSERTS in options.add and errors([word for word in words if word != f"--hitmap-add={KEEP_ASSERTS}"], cxx) is None:
            lines += [f"asserts {source}" for source in command.sources]
    wrapper.append(options.log, lines)


def errors(words, cxx):
    """The first error of a syntax check; None when there is none."""
    quiet = [word for word in words if not word.startswith("--hitmap-log=")]
    clang, *rest = wrapper.plan(quiet, cxx)
    done = subprocess.run([clang, "-fsyntax-only", *rest], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return None
    lines = done.stderr.splitlines()
    return next((line for line in lines if "error:" in line), lines[0] if lines else f"exit code {done.returncode}")
