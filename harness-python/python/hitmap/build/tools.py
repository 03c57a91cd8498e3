"""Puts the programs of this Python's environment on a build's path: cmake, ninja, swig and the like from PyPI.

Many of them are small Python scripts. In pip's isolated builds, PYTHONPATH takes the environment's packages away from
every Python of the same kind, and such a script fails in its first line. So each is started by a script of ours that has
Python ignore PYTHONPATH; what it starts in turn still finds it.
"""

import os
import shlex
import sys
import sysconfig

from .shim import script

# The build has these from pip, or from us.
NOT_THESE = ("python", "pip", "hitmap", "activate")


def scripts():
    """The folder that pip puts this environment's programs into."""
    return sysconfig.get_path("scripts")


def write(folder):
    """Fills `folder` with starters of the environment's Python scripts; returns what goes onto the path, in order."""
    source = scripts()
    os.makedirs(folder, exist_ok=True)
    for name in sorted(os.listdir(source)) if os.path.isdir(source) else []:
        path = os.path.join(source, name)
        if name.startswith(NOT_THESE) or not is_ours(path):
            continue
        words = [sys.executable, "-E", path]
        script(os.path.join(folder, name), f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    return [folder, source]


def is_ours(path):
    """Whether it is a script for this environment's Python."""
    try:
        if not os.access(path, os.X_OK) or not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            begin = file.read(1024)
    except OSError:
        return False
    if not begin.startswith(b"#!"):
        return False
    # Paths too long for the kernel, or with blanks, are in a second line: #!/bin/sh, '''exec' PYTHON "$0" "$@"
    first, _, rest = begin.partition(b"\n")
    words = first[2:].split() + (rest.partition(b"\n")[0].split() if rest.startswith(b"'''exec'") else [])
    bin_folder = os.path.dirname(sys.executable).encode()
    return any(os.path.dirname(word.strip(b"\"'")) == bin_folder and os.path.basename(word.strip(b"\"'")).startswith(b"python")
               for word in words)
