"""Runs pip: shows its output or keeps it, and ends it with all that it started, however hitmap itself ends."""

import os
import re
import signal
import subprocess
import sys
import threading

from . import failures

TAIL = 10
SUPERVISE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "supervise.py")

# How far ninja and make are.
NINJA = re.compile(r"^\[(\d+)/(\d+)\] ")
MAKE = re.compile(r"^\[ *(\d+)%\] ")


class BuildFailed(Exception):
    """pip or a compiler gave up. `error` holds the lines that say why, `tail` the last ones, `remedy` what to do (or None)."""

    def __init__(self, what, error=(), tail=(), remedy=None):
        super().__init__(what)
        self.what = what
        self.error = list(error)
        self.tail = list(tail)
        self.remedy = remedy


class Output:
    """What a program printed so far."""

    def __init__(self):
        self.lines = []
        self.done = ""      # of how many, as the build system says it

    def take(self, line):
        self.lines.append(line)
        text = line.strip()
        if found := NINJA.match(text):
            self.done = f"step {found[1]} of {found[2]}"
        elif found := MAKE.match(text):
            self.done = f"{found[1]} %"


def run(arguments, environ, folder, what, verbose, watch=lambda output: None, explain=failures.explain):
    """Runs pip in `folder`, lest a file there is named like a module of its; calls `watch` now and then meanwhile.

    Returns what it printed; raises BuildFailed, with what `explain` makes of the lines: first error, remedy.
    """
    # pip stays below the supervisor, which ends when the pipe to it closes.
    command = [sys.executable, "-I", "-S", SUPERVISE, sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input",
               *arguments]
    process = subprocess.Popen(command, env=environ, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    output = Output()
    reader = threading.Thread(target=read, args=(process.stdout, output, verbose), daemon=True)
    reader.start()
    try:
        while True:
            reader.join(0.2)
            if not reader.is_alive():
                break
            watch(output)
        status = process.wait()
    except BaseException:
        stop(process)
        raise
    if status != 0:
        error, remedy = explain(output.lines)
        raise BuildFailed(what, error, [] if verbose else output.lines[-TAIL:], remedy)
    return output


def read(stream, output, verbose):
    for line in stream:
        line = line.rstrip()
        if verbose:
            print(line, file=sys.stderr, flush=True)
        output.take(line)


def stop(process):
    """Ends pip with all that it started, and is not hurried."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        process.stdin.close()
        process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
