"""Finds clang and what comes with it. Knows nothing of what it is asked to compile."""

import os

NEWEST, OLDEST = 19, 14
NAMES = [f"clang-{version}" for version in range(NEWEST, OLDEST - 1, -1)] + ["clang"]


RUNTIME = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_rt", "libhitmap_rt.so")


class NoClang(Exception):
    """No usable clang, or a part of it is missing; the text says what to do."""


def on_path(name, path=None):
    """The full path of an executable, or None. shutil.which costs the wrapper too much to import."""
    if os.sep in name:
        return name if os.access(name, os.X_OK) else None
    for folder in (os.environ.get("PATH", os.defpath) if path is None else path).split(os.pathsep):
        candidate = os.path.join(folder or os.curdir, name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return os.path.abspath(candidate)
    return None


def find(environ=os.environ):
    """The clang to use: the one that CC names, else the newest known on PATH.

    The same binary compiles C++ (`--driver-mode=g++`), so that no second program, perhaps of
    another version, has to be found.
    """
    path = environ.get("PATH", os.defpath)
    wished = environ.get("CC", "")
    if os.path.basename(wished).startswith("clang"):
        found = on_path(wished, path)
        if found is None:
            raise NoClang(f"CC names {wished}, which is not there; correct or unset CC")
        return found
    for name in NAMES:
        found = on_path(name, path)
        if found is not None:
            return found
    raise NoClang(
        f"no clang found (looked for {NAMES[0]} to clang-{OLDEST} and clang on PATH); "
        f"install one: apt-get install {NAMES[0]}"
    )


def gcc(environ=os.environ):
    """The GCC to use: the one that CC names, else `gcc`."""
    wished = environ.get("CC", "")
    name = wished if "gcc" in os.path.basename(wished) else "gcc"
    found = on_path(name, environ.get("PATH", os.defpath))
    if found is None:
        raise NoClang(f"{name} is not there; install it: apt-get install gcc")
    return found


def lld(clang, environ=os.environ):
    """The linker that reads this clang's bitcode: the one beside it, else the one of its version."""
    real = os.path.realpath(clang)
    version = os.path.basename(clang).rpartition("clang-")[2]
    names = [os.path.join(os.path.dirname(real), "ld.lld"), f"ld.lld-{version}", "ld.lld"]
    for name in names:
        found = on_path(name, environ.get("PATH", os.defpath))
        if found is not None:
            return found
    package = f"lld-{version}" if version.isdigit() else "lld"
    raise NoClang(f"ThinLTO needs the linker lld of the same LLVM as {clang}; install it: apt-get install {package}")


def runtime():
    """Path of the runtime that comes with this package."""
    if not os.path.exists(RUNTIME):
        raise NoClang(f"there is no {RUNTIME}; install hitmap from a wheel: pip install hitmap")
    return RUNTIME


def sanitizer_library(clang, name):
    """Path of a sanitizer's shared library, which Python must load before an extension that needs it."""
    import platform
    import subprocess

    wanted = f"libclang_rt.{name}-{platform.machine()}.so"
    done = subprocess.run([clang, f"-print-file-name={wanted}"], capture_output=True, text=True)
    path = done.stdout.strip()
    if not os.path.isabs(path):
        # Builds of LLVM with a folder for each target leave the machine out of the name.
        plain = subprocess.run([clang, f"-print-file-name=libclang_rt.{name}.so"], capture_output=True, text=True)
        path = plain.stdout.strip()
    if not os.path.isabs(path) or not os.path.exists(path):
        version = os.path.basename(clang).rpartition("clang-")[2]
        package = f"libclang-rt-{version}-dev" if version.isdigit() else "compiler-rt"
        raise NoClang(f"{clang} has no {wanted}; install it: apt-get install {package}")
    return os.path.realpath(path)
