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
from hitmap.build.{module} import main
main(sys.argv[1:], cxx={cxx})
"""

# The second line starts only when the compiler failed.
COMPILER = """\
#!/bin/sh
{compile} "$@" && exit
code=$?
{diagnose} "$@"
exit $code
"""

# Makefiles and configure scripts that do not ask for CC call these by name.
ALSO = {"hitmap-clang": ("cc", "gcc", "clang"), "hitmap-clang++": ("c++", "g++", "clang++")}

# CMake modules (pybind11's for one) strip what they built; findings want its symbols. Beside clang, CMake 4 prefers
# llvm-strip. Asked for a copy, these make one.
STRIPS = ("strip", "llvm-strip", "eu-strip")
STRIP = """\
#!/bin/sh
to= from=
while [ $# -gt 0 ]; do
  case $1 in
    --version|-V|--help) exec {real} "$1" ;;
    -o|--output-file) to=$2; shift ;;
    -o*) to=${{1#-o}} ;;
    --output-file=*) to=${{1#*=}} ;;
    -[FIOKNRf]) shift ;;
    -*) ;;
    *) from=$1 ;;
  esac
  shift
done
[ -z "$to" ] || exec cp -p -- "$from" "$to"
"""
COPIES = ("objcopy", "llvm-objcopy")
COPY = """\
#!/bin/sh
for word do
  shift
  case $word in
    -S|-g|-x|--strip-all|--strip-debug|--strip-unneeded|--discard-all) ;;
    *) set -- "$@" "$word" ;;
  esac
done
exec {real} "$@"
"""


def write(folder, options):
    """Makes hitmap-clang and hitmap-clang++ in `folder`, with these --hitmap- options, and returns
    the paths of the two."""
    hitmap = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    os.makedirs(folder, exist_ok=True)
    made = []
    for name, also in ALSO.items():
        start = {module: shlex.join([sys.executable, "-I", "-S", "-c", START.format(module=module, cxx=name.endswith("++")), hitmap,
                                     *options])
                 for module in ("wrapper", "diagnose")}
        path = os.path.join(folder, name)
        script(path, COMPILER.format(compile=start["wrapper"], diagnose=start["diagnose"]))
        for other in also:
            os.symlink(name, os.path.join(folder, other))
        made.append(path)
    from .toolchain import on_path

    for name in STRIPS:
        real = on_path(name) or on_path("strip") or "/usr/bin/strip"
        script(os.path.join(folder, name), STRIP.format(real=shlex.quote(real)))
    for name in COPIES:
        if (real := on_path(name)) is not None:
            script(os.path.join(folder, name), COPY.format(real=shlex.quote(real)))
    return made


def script(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
