"""Finds clang. Knows nothing of what it is asked to compile."""

import os

NEWEST, OLDEST = 19, 14
NAMES = [f"clang-{version}" for version in range(NEWEST, OLDEST - 1, -1)] + ["clang"]


class NoClang(Exception):
    """No usable clang; the text says what to do."""


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
