"""The objects that instrumented libraries carry: compiled once, kept in the cache.

Their sources, the linker script that isolates the counters and the list of calls that a comparison
build redirects lie in the folder stub/ beside this file.
"""

import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stub")
SCRIPT = os.path.join(FOLDER, "isolate.ld")
GCC_SCRIPT = os.path.join(FOLDER, "gcc.ld")
GUARD_HEADER = os.path.join(FOLDER, "hitmap_guard.h")
REDIRECTED = os.path.join(FOLDER, "comparisons.args")

# No debug information and no path in it: the same clang makes the same bytes on every machine. No
# loop becomes a call of a function that is redirected.
FLAGS = ("-O2", "-fPIC", "-fno-sanitize=all", "-fvisibility=hidden", "-fno-builtin", "-g0")
# Bitcode, for the linker to inline.
ALSO = {"hitmap_live": ("-flto=thin",)}


class StubFailed(Exception):
    """The stub could not be made; the text says why."""


def compiled(clang, name="hitmap_stub"):
    """Path of an object for this clang; compiles it when the cache has none."""
    path = os.path.join(cache(), f"{name}-{key(clang, name)}.o")
    if not os.path.exists(path):
        compile_to(clang, name, path)
    return path


def flags(name):
    return (*FLAGS, *ALSO.get(name, ()))


def source(name):
    return os.path.join(FOLDER, f"{name}.c")


def key(clang, name):
    """Names the object by everything that goes into it; clang itself by its file, not by running it."""
    import hashlib

    real = os.path.realpath(clang)
    state = os.stat(real)
    text = "\0".join([*flags(name), real, str(state.st_size), str(state.st_mtime_ns)]).encode()
    for part in (source(name), os.path.join(FOLDER, "hitmap_control.h")):
        with open(part, "rb") as file:
            text += b"\0" + file.read()
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def cache():
    """A folder that only this user writes: in the user's cache, else in the folder for temporary files."""
    home = os.path.expanduser("~")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    try:
        if os.path.isabs(base) and (folder := private(os.path.join(base, "hitmap"))):
            return folder
    except OSError:
        pass
    import tempfile

    folder = os.path.join(tempfile.gettempdir(), f"hitmap-{os.getuid()}")
    try:
        if private(folder):
            return folder
    except OSError:
        pass
    raise StubFailed(f"no folder to keep the compiled stub in: {base}/hitmap and {folder} are both "
                     "not ours to write; make one of them writable")


def private(folder):
    """The folder when it is, or could be made, ours and writable by nobody else; an object that a
    stranger could replace would end up in the user's libraries."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    state = os.lstat(folder)
    ours = state.st_uid == os.getuid() and not state.st_mode & 0o022
    return folder if ours and os.access(folder, os.W_OK | os.X_OK) else None


def compile_to(clang, name, path):
    """Compiles beside `path`, then renames: parallel builds see the whole object or none."""
    import subprocess

    part = f"{path[:-2]}.{os.getpid()}.part.o"
    try:
        done = subprocess.run([clang, *flags(name), "-c", source(name), "-o", part], capture_output=True, text=True)
        if done.returncode != 0:
            raise StubFailed(f"{clang} cannot compile hitmap's {name}.c:\n{done.stderr.strip()}")
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)
