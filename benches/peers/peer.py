"""What a peer must be able to do, and what all of them share."""

import os
import shlex
import shutil
import subprocess
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pybind11

import cpu
from targets import Target

ROOT = Path(__file__).resolve().parent.parent.parent
# Everything that is installed or built for the benchmarks; `make clean` takes it away.
HOME = ROOT / "target" / "bench"
# The compiler that hitmap's wrapper runs as well.
CLANG = "clang-19"
# A command may take this much longer than it was asked to, and this many seconds more.
SLACK = (3, 60)


class Unavailable(Exception):
    """A peer cannot be set up or driven; the text says what is missing and what to do."""


@dataclass(frozen=True)
class Run:
    """One campaign: inputs run, and CPU seconds of the whole process tree."""

    runs: int
    cpu: float
    wall: float


class Peer(ABC):
    """A fuzzer."""

    name: str

    @abstractmethod
    def install(self) -> None:
        """Installs what is missing.

        Raises:
            Unavailable: with the remedy.
        """

    @abstractmethod
    def version(self) -> str:
        """Name and version, for the table."""

    @abstractmethod
    def compilers(self) -> dict[str, str]:
        """`CC`, `CXX` and flags that compile with this peer's coverage."""

    @property
    @abstractmethod
    def python(self) -> Path:
        """The interpreter that runs the harness."""

    @abstractmethod
    def fuzz(self, target: Target, seconds: float, seed: int, folder: Path) -> Run:
        """One campaign of `seconds` in the empty `folder`, with one worker."""

    def build(self, target: Target) -> None:
        """Compiles the target, unless that was done for this source before."""
        built = self.built(target)
        stamp = built / ".done"
        source = target.folder / f"{target.name}.cpp"
        made_of = target.package or source.read_text()
        if stamp.exists() and stamp.read_text() == made_of and not self.is_newer_than(stamp):
            return
        shutil.rmtree(built, ignore_errors=True)
        built.mkdir(parents=True)
        if target.package:
            self.build_package(target.package, built)
        else:
            self.build_file(source, built)
        stamp.write_text(made_of)

    def is_newer_than(self, stamp: Path) -> bool:
        """Whether the peer was changed since, so that targets must be built again."""
        return False

    def build_file(self, source: Path, built: Path) -> None:
        tools = self.compilers()
        module = built / f"{source.stem}{sysconfig.get_config_var('EXT_SUFFIX')}"
        includes = [f"-I{sysconfig.get_path('include')}", f"-I{pybind11.get_include()}"]
        flags = ["-O3", "-DNDEBUG", "-g", "-std=c++17", "-fPIC", "-shared", "-fvisibility=hidden"]
        command = [*shlex.split(tools["CXX"]), *shlex.split(tools.get("CXXFLAGS", "")), *flags, *includes]
        called([*command, source, "-o", module], os.environ)

    def build_package(self, package: str, built: Path) -> None:
        tools = self.compilers()
        # setuptools links with these, and would take Python's own compiler otherwise.
        linkers = {"LDSHARED": f"{tools['CC']} -shared", "LDCXXSHARED": f"{tools['CXX']} -shared"}
        pip = [self.python, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--no-cache-dir"]
        environment = {**os.environ, **tools, **linkers}
        called([*pip, "--no-binary", ":all:", "--target", built, package], environment)

    def built(self, target: Target) -> Path:
        return HOME / "targets" / self.name / target.name

    def campaign(
        self, target: Target, command: Sequence[str | Path], seconds: float, folder: Path, env: Mapping[str, str] = {}
    ) -> tuple[cpu.Usage, str]:
        """Runs a campaign's command, the built target importable; gives what it took and what it said."""
        environment = {**os.environ, "PYTHONPATH": str(self.built(target)), "PYTHONDONTWRITEBYTECODE": "1", **env}
        log = folder / "log"
        factor, more = SLACK
        usage = cpu.measure(command, environment, folder, log, factor * seconds + more)
        return usage, log.read_text(errors="replace")


def called(command: Sequence[str | Path], env: Mapping[str, str]) -> None:
    """Runs a command that is not measured.

    Raises:
        Unavailable: with what it said, when it fails.
    """
    try:
        run = subprocess.run(command, env=env, capture_output=True, text=True)
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed; on Debian: apt-get install {CLANG}") from None
    if run.returncode != 0:
        said = "\n".join((run.stdout + run.stderr).strip().splitlines()[-20:])
        raise Unavailable(f"failed: {shlex.join(map(str, command))}\n{said}")
