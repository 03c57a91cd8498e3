"""Writes the compilers that a build is given: small scripts that start the wrapper.

They start Python isolated, so that neither the build's PYTHONPATH nor site-packages can get in the
way or cost time, and reach the wrapper past hitmap's own __init__, which loads the native half.
"""

import os
import shlex
import stat
import sys

START = """\
import sys
parent = type(sys)("hitmap")
parent.__path__ = [sys.argv.pop(1)]
sys.modules["hitmap"] = parent
from hitmap.build.wrapper import main
main(sys.argv[1:], cxx={cxx})
"""

# Makefiles and configure scripts that do not ask for CC call these by name.
ALSO = {"hitmap-clang": ("cc", "gcc", "clang"), "hitmap-clang++": ("c++", "g++", "clang++")}

# CMake modules (pybind11's for one) strip what they built; findings want its symbols. Beside clang, CMake 4 prefers
# llvm-strip.
STRIPS = ("strip", "llvm-strip")
STRIP = """\
#!/bin/sh
for word in "$@"; do case $word in -o|--version|-V|--help) exec {strip} "$@";; esac; done
exit 0
"""


def write(folder, options):
    """Makes hitmap-clang and hitmap-clang++ in `folder`, with these --hitmap- options, and returns
    the paths of the two."""
    hitmap = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    os.makedirs(folder, exist_ok=True)
    made = []
    for name, also in ALSO.items():
        start = START.format(cxx=name.endswith("++"))
        words = [sys.executable, "-I", "-S", "-c", start, hitmap, *options]
        path = os.path.join(folder, name)
        script(path, f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        for other in also:
            os.symlink(name, os.path.join(folder, other))
        made.append(path)
    from .toolchain import on_path

    for name in STRIPS:
        real = on_path(name) or on_path("strip") or "/usr/bin/strip"
        script(os.path.join(folder, name), STRIP.format(strip=shlex.quote(real)))
    return made


def script(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
