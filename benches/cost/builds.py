"""The builds that are compared. Each is a shared library that exports `work`, and perhaps a runtime that comes first."""

import os
import shlex
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cost import debian
from peers.builder import CLANG, CLANGXX, HOME, Unavailable, called
from peers.side import Side

HERE = Path(__file__).resolve().parent
FOLDER = HOME / "cost"
# As a release is built: without assertions, each of which would be an edge.
OPTIONS = ["-O2", "-DNDEBUG", "-fPIC", "-gline-tables-only", "-pthread"]


class Workload:
    """Something to run, and the Debian package that it comes from, if it does not stand in `workloads/` alone."""

    def __init__(self, name: str, package: str = "", includes: str = "", options: Sequence[str] = (), parts: Sequence[str] = ()):
        self.name = name
        self.package = package
        self.includes = includes
        self.options = options
        self.parts = parts

    def sources(self) -> tuple[list[Path], list[str]]:
        """Files to compile, and options for all of them."""
        own = sorted((HERE / "workloads").glob(f"{self.name}*.c*"))
        if not self.package:
            return own, []
        unpacked = debian.source(self.package, FOLDER / "sources")
        for script in unpacked.glob("re2/make_perl_groups.pl"):
            made = subprocess.run(["perl", script], capture_output=True, text=True, check=True)
            script.with_name("perl_groups.cc").write_text(made.stdout)
        parts = [path for pattern in self.parts for path in sorted(unpacked.glob(pattern))]
        return [*own, *parts], [f"-I{unpacked / self.includes}", *self.options]


# rapidjson's own headers need the option with a new clang.
JSON = Workload("json", "rapidjson", "include", ["-fdelayed-template-parsing"])
RE2 = Workload("re2", "re2", ".", ["-w"], ["re2/*.cc", "util/rune.cc", "util/strutil.cc"])
HAMMER = Workload("hammer")


class Build(Side):
    """One way to compile a workload."""

    def __init__(self, name: str, about: str):
        self.name = name
        self.about = about

    def install(self) -> None:
        """Nothing: the compiler is there."""

    def version(self) -> str:
        return self.about

    @abstractmethod
    def flags(self) -> tuple[list[str], list[str]]:
        """What is added when compiling and when linking."""

    def runtime(self) -> Path | None:
        """The library that is loaded first, with its symbols for all."""
        return None

    def library(self, workload: Workload) -> Path:
        return FOLDER / "builds" / workload.name / self.name / "libwork.so"

    def build(self, workload: Workload) -> None:
        library = self.library(workload)
        compiling, linking = self.flags()
        own = [path.read_text() for path in sorted((HERE / "workloads").glob("*"))]
        made_of = "\n".join([shlex.join([*OPTIONS, *compiling, *linking]), *own])
        stamp = library.with_suffix(".flags")
        if library.exists() and stamp.exists() and stamp.read_text() == made_of:
            return
        library.parent.mkdir(parents=True, exist_ok=True)
        files, options = workload.sources()

        def compiled(file: Path) -> Path:
            target = library.parent / f"{file.name}.o"
            compiler = [CLANG] if file.suffix == ".c" else [CLANGXX, "-std=c++17"]
            called([*compiler, *OPTIONS, *options, *compiling, "-c", file, "-o", target], os.environ)
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compiled, files))
        called([CLANGXX, "-shared", "-O2", *objects, *linking, "-pthread", "-o", library], os.environ)
        stamp.write_text(made_of)


class Plain(Build):
    def flags(self) -> tuple[list[str], list[str]]:
        return [], []


class Ours(Build):
    """hitmap's flags, as `hitmap flags` prints them, and its runtime."""

    def __init__(self, name: str, about: str, *choice: str):
        super().__init__(name, about)
        self.choice = choice

    def flags(self) -> tuple[list[str], list[str]]:
        return self.ask("--compile"), self.ask("--link")

    def ask(self, line: str) -> list[str]:
        command = [Path(sys.executable).parent / "hitmap", "flags", *self.choice, line]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise Unavailable(f"hitmap flags {' '.join(self.choice)} {line} failed: {run.stderr}")
        return shlex.split(run.stdout)

    def runtime(self) -> Path:
        where = "import hitmap, os; print(os.path.dirname(hitmap.__file__))"
        run = subprocess.run([sys.executable, "-c", where], capture_output=True, text=True, check=True)
        return Path(run.stdout.strip()) / "_rt" / "libhitmap_rt.so"


class Shared(Ours):
    """Objects that were compiled for somebody else: the runtime's exported callback."""

    def flags(self) -> tuple[list[str], list[str]]:
        return ["-fsanitize-coverage=edge,trace-pc-guard"], ["-Wl,--build-id=sha1"]


class Called(Ours):
    """Guards whose callback the assembler was not asked to put in line."""

    def flags(self) -> tuple[list[str], list[str]]:
        return ["-fsanitize-coverage=edge,trace-pc-guard,pc-table"], self.ask("--link")


class Standin(Build):
    """A callback of ours that costs what somebody else's costs, in a shared library of its own."""

    def __init__(self, name: str, about: str, coverage: str):
        super().__init__(name, f"{about} (stand-in)")
        self.coverage = coverage

    def flags(self) -> tuple[list[str], list[str]]:
        return [f"-fsanitize-coverage={self.coverage}"], []

    def runtime(self) -> Path:
        return FOLDER / f"lib{self.name}.so"

    def install(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        source = HERE / "standins" / f"{self.name}.c"
        called([CLANG, "-O2", "-fPIC", "-shared", source, "-o", self.runtime()], os.environ)


EDGES = "edge,trace-pc-guard"
EVENTS = Standin("events", "counts events", EDGES)
BUILDS: list[Build] = [
    Ours("default", "hitmap, inline counters and flags"),
    Ours("lto", "hitmap, ThinLTO with journal", "--lto"),
    Ours("guard", "hitmap, hidden callback, in line by the assembler", "--guard"),
    Called("called", "hitmap, hidden callback, called", "--guard"),
    Shared("shared", "hitmap, shared callback"),
    Ours("func", "hitmap, functions counted", "--func"),
    Ours("func-live", "hitmap, functions live, by the assembler", "--func", "--guard"),
    Ours("func-lto", "hitmap, functions live, ThinLTO", "--func", "--lto"),
    Standin("memcov_master", "memcov", EDGES),
    Standin("memcov_bitmap", "memcov, bitmap branch", EDGES),
    Standin("afl", "AFL++", EDGES),
    Standin("covmap", "llvm-covmap", "func,trace-pc-guard"),
    Plain("plain", "not instrumented"),
]


def timer() -> Path:
    """The program that times one build."""
    program = FOLDER / "timer"
    FOLDER.mkdir(parents=True, exist_ok=True)
    called([CLANG, "-O2", HERE / "timer.c", "-ldl", "-pthread", "-o", program], os.environ)
    return program
