"""How a target is compiled with somebody's coverage."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import pybind11

from targets import Target

ROOT = Path(__file__).resolve().parent.parent.parent
# Everything that is installed or built for the benchmarks; `make clean` takes it away.
HOME = ROOT / "target" / "bench"
# The compiler that hitmap's wrapper runs as well.
CLANG = "clang-19"
# Python's own setting for C++ is the C compiler's name with this ending.
CLANGXX = CLANG.replace("clang", "clang++")
# Has clang write its command lines into what it makes, for `optimised` to read.
RECORD = "-frecord-command-line"


class Unavailable(Exception):
    """Something cannot be set up or driven; the text says what is missing and what to do."""


class Builder(ABC):
    """Somebody who compiles targets."""

    name: str

    @abstractmethod
    def compilers(self, target: Target) -> dict[str, str]:
        """`CC` and `CXX` with the options that compile with this coverage and record the command line.

        No `CFLAGS`: setuptools, since version 84, drops Python's own for them, and with these `-O3`.
        """

    @property
    def variant(self) -> str:
        """Those with the same variant share what is built."""
        return self.name

    def built(self, target: Target) -> Path:
        """The folder that goes onto Python's path."""
        return HOME / "targets" / self.variant / target.name

    def build(self, target: Target) -> None:
        """Compiles the target, unless that was done for this source before."""
        built = self.built(target)
        stamp = built / ".done"
        source = target.folder / f"{target.name}.cpp"
        made_of = json.dumps([self.compilers(target), target.package or source.read_text()])
        if stamp.exists() and stamp.read_text() == made_of and not self.is_newer_than(stamp):
            return
        shutil.rmtree(built, ignore_errors=True)
        built.mkdir(parents=True)
        if target.package:
            self.build_package(target, built)
        else:
            self.build_file(target, source, built)
        stamp.write_text(made_of)

    def libraries(self, target: Target) -> list[Path]:
        """What was built of the target."""
        return sorted(self.built(target).rglob("*.so"))

    def is_newer_than(self, stamp: Path) -> bool:
        """Whether the peer was changed since, so that targets must be built again."""
        return False

    def build_file(self, target: Target, source: Path, built: Path, *more: str) -> None:
        tools = self.compilers(target)
        module = built / f"{source.stem}{sysconfig.get_config_var('EXT_SUFFIX')}"
        includes = [f"-I{sysconfig.get_path('include')}", f"-I{pybind11.get_include()}"]
        flags = [RECORD, "-O3", "-DNDEBUG", "-g", "-std=c++17", "-fPIC", "-shared", "-fvisibility=hidden"]
        command = [*shlex.split(tools["CXX"]), *flags, *includes, *more]
        called([*command, source, "-o", module], os.environ)

    def build_package(self, target: Target, built: Path) -> None:
        tools = self.compilers(target)
        # setuptools links with these, and would take Python's own compiler otherwise.
        linkers = {"LDSHARED": f"{tools['CC']} -shared", "LDCXXSHARED": f"{tools['CXX']} -shared"}
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir"]
        environment = {**plain(), **tools, **linkers}
        # From source the package alone: what it needs has no use for coverage, and some does not load with it.
        name = str(target.package).partition("==")[0]
        called([*pip, "--no-binary", name, "--target", built, str(target.package)], environment)


def plain() -> dict[str, str]:
    """This shell's environment without flags for compilers, which would optimise some targets and not others."""
    return {name: value for name, value in os.environ.items() if name not in ("CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")}


def recording(folder: Path) -> Path:
    """A script in `folder` that is `CLANG` and records, for builds that ask for a compiler by its path alone."""
    script = folder / CLANG
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec {CLANG} {RECORD} "$@"\n')
    script.chmod(0o755)
    return script


def environment(folder: Path, stamp: Path, *requirements: str) -> None:
    """A virtual environment with these requirements, unless `stamp` says that it is there."""
    if stamp.exists():
        return
    called([sys.executable, "-m", "venv", "--clear", folder], os.environ)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    called([*pip, *requirements], os.environ)
    stamp.touch()


def called(command: Sequence[str | Path], env: Mapping[str, str]) -> None:
    """Runs a command that is not measured.

    Raises:
        Unavailable: with what it said, when it fails.
    """
    try:
        run = subprocess.run(command, env=env, capture_output=True, text=True)
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed; see README.md for the Debian packages") from None
    if run.returncode != 0:
        said = "\n".join((run.stdout + run.stderr).strip().splitlines()[-20:])
        raise Unavailable(f"failed: {shlex.join(map(str, command))}\n{said}")


def program(*cargo: str) -> Path:
    """The one program that a command of cargo builds.

    Raises:
        Unavailable: with what cargo said, when it fails.
    """
    command = ["cargo", *cargo, "--quiet", "--locked", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if built.returncode != 0:
        raise Unavailable(f"failed: {shlex.join(command)}\n{built.stderr[-2000:]}")
    messages = map(json.loads, built.stdout.splitlines())
    [path] = [path for message in messages if (path := message.get("executable"))]
    return Path(path)
