"""Copies a source tree without what earlier builds left in it. Never writes to the tree it copies."""

import os
import shutil

VERSION_CONTROL = frozenset([".git", ".hg", ".svn"])
LEFTOVERS = frozenset(
    "__pycache__ .venv venv .tox .nox .eggs .mypy_cache .pytest_cache .ruff_cache node_modules "
    "CMakeFiles CMakeCache.txt _skbuild .hitmap".split()
)
LEFTOVER_ENDINGS = (".so", ".o", ".lo", ".pyc", ".pyd", ".egg-info", ".dist-info")

# A folder with one of these was made by a build.
BUILD_MARKS = ("CMakeCache.txt", "meson-info", "meson-private", "build.ninja")
SETUPTOOLS_MARKS = ("lib", "lib.", "temp.", "bdist.")

# Build systems that take the version from git fail without it.
VERSION_FROM_GIT = ("setuptools_scm", "setuptools-scm", "hatch-vcs", "versioningit", "versioneer",
                    "vcs_versioning", "poetry-dynamic-versioning", "pdm-backend", "git describe")


def copy(tree, target):
    """A clean copy of `tree` at `target`, which must not exist."""
    top = os.path.realpath(tree)
    keep_git = version_from_git(top)
    copy_folder(top, top, target, keep_git)


def copy_folder(top, folder, target, keep_git):
    os.makedirs(target)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            at_top = folder == top
            if at_top and entry.name == ".git" and keep_git:
                copy_git(entry, os.path.join(target, entry.name))
            elif not left_out(entry, at_top):
                copy_entry(top, entry, os.path.join(target, entry.name), keep_git)


def copy_git(entry, target):
    if entry.is_dir():
        shutil.copytree(entry.path, target, symlinks=True)
    else:
        shutil.copy2(entry.path, target)


def copy_entry(top, entry, target, keep_git):
    if entry.is_symlink():
        real = os.path.realpath(entry.path)
        if os.path.commonpath([top, real]) == top:
            os.symlink(os.readlink(entry.path), target)
        elif os.path.isdir(real):
            shutil.copytree(real, target, symlinks=True)
        elif os.path.isfile(real):
            shutil.copy2(real, target)
    elif entry.is_dir():
        copy_folder(top, entry.path, target, keep_git)
    elif entry.is_file():  # not a socket, not a pipe
        shutil.copy2(entry.path, target)


def left_out(entry, at_top):
    """True for what is no source."""
    name = entry.name
    if name in VERSION_CONTROL or name in LEFTOVERS or name.endswith(LEFTOVER_ENDINGS):
        return True
    if not entry.is_dir(follow_symlinks=False):
        return False
    if at_top and name == "dist":
        return True
    inside = os.listdir(entry.path)
    if any(mark in inside for mark in BUILD_MARKS):
        return True
    # Some projects keep sources in build/ (zstd has its CMakeLists there), so look before leaving it.
    return at_top and name == "build" and all(entry.startswith(SETUPTOOLS_MARKS) for entry in inside)


def version_from_git(top):
    for name in ("pyproject.toml", "setup.cfg", "setup.py"):
        try:
            with open(os.path.join(top, name), encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        if any(word in text for word in VERSION_FROM_GIT):
            return True
    return False


COMPILED = (".c", ".cc", ".cpp", ".cxx", ".pyx")
# Below a build's folder, but not the package's.
NOT_THE_PACKAGES = ("pip-build-env-", "pip-cache", "compilers", "tools", "wheel", "beside-")


def compiled_languages(place):
    """The files in C, C++ and Cython of the package that is built in this folder, relative to it."""
    found = []
    for folder, inside, files in os.walk(place):
        if folder == place:
            inside[:] = [name for name in inside if not name.startswith(NOT_THE_PACKAGES)]
        found += [os.path.relpath(os.path.join(folder, name), place) for name in files if name.endswith(COMPILED)]
    return sorted(path.partition(os.sep)[2] or path for path in found)
