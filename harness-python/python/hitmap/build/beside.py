"""Keeps builds of packages beside the ordinary ones: `<sys.prefix>/.hitmap/NAME/`, as they would be installed.

A worker that is started with `--variant NAME` looks there first, and finds what is not there in
site-packages. Owns these folders; knows nothing of compilers. What a wheel holds for other places
than Python's own (scripts, headers, data) is left out, as nobody looks for it here.
"""

import csv
import importlib.metadata
import os
import pathlib
import shutil
import sys
import zipfile

# Names of libraries, by path, that the process must load before Python starts; one a line.
PRELOAD = "preload"


def folder(name):
    """Where builds of one kind are kept: `comparisons`, `asan`, `ubsan`."""
    return os.path.join(sys.prefix, ".hitmap", name)


def keep(wheel, name, package, preload=()):
    """Puts a wheel's files into the folder, in place of an older build of the same package."""
    drop(name, package)
    top = folder(name)
    os.makedirs(top, exist_ok=True)
    placed = []
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            place = within(member.filename)
            if place is None or member.is_dir():
                continue
            path = os.path.join(top, *place)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target)
            placed.append("/".join(place))
    # Where the files are now, which a wheel's own list need not say.
    for info in {path.partition("/")[0] for path in placed if path.partition("/")[0].endswith(".dist-info")}:
        with open(os.path.join(top, info, "RECORD"), "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([path, "", ""] for path in placed)
    if preload:
        with open(os.path.join(top, PRELOAD), "w", encoding="utf-8") as file:
            file.write("".join(f"{path}\n" for path in preload))
    return top


def within(member):
    """The parts of a member's path in site-packages; None when it belongs elsewhere, or tries to."""
    parts = member.split("/")
    if parts[0].endswith(".data"):
        if len(parts) < 3 or parts[1] not in ("platlib", "purelib"):
            return None
        parts = parts[2:]
    return None if {"", ".."} & set(parts) else parts


def drop(name, package):
    """Removes a package's files, and the folders that this leaves empty."""
    top = os.path.realpath(folder(name))
    for info, distribution in distributions(name):
        if normal(distribution.metadata["Name"]) != normal(package):
            continue
        for file in distribution.files or []:
            path = os.path.join(top, str(file))
            if not os.path.realpath(path).startswith(top + os.sep) or not os.path.isfile(path):
                continue
            os.unlink(path)
            above = os.path.dirname(path)
            if path.endswith(".py"):
                shutil.rmtree(os.path.join(above, "__pycache__"), ignore_errors=True)
            while above != top and not os.listdir(above):
                os.rmdir(above)
                above = os.path.dirname(above)
        shutil.rmtree(info, ignore_errors=True)


def distributions(name):
    """The packages that are kept in one folder: (path of its .dist-info, what that says)."""
    top = pathlib.Path(folder(name))
    return [(info, importlib.metadata.PathDistribution(info)) for info in sorted(top.glob("*.dist-info"))]


def version(name, package):
    """The version of a package that is kept; None when there is none."""
    found = [each.version for _, each in distributions(name) if normal(each.metadata["Name"]) == normal(package)]
    return found[0] if found else None


def kept():
    """Names of the folders that hold something."""
    top = os.path.dirname(folder("any"))
    return sorted(name for name in os.listdir(top) if distributions(name)) if os.path.isdir(top) else []


def normal(package):
    """As the index compares names."""
    return package.lower().replace("_", "-").replace(".", "-")
