"""Turns puzzles into Python modules with hitmap's own compiler wrapper, so that coverage comes as users get it.

One folder holds all that was built: the modules, the libraries they link, and a harness for each puzzle that brings
none. It goes first on PYTHONPATH. Puzzles that are built twice, with AddressSanitizer or to tell what they compare,
lie in a folder of their own in it, beside their harness, so that the others' campaigns find no such builds.
"""

import os
import platform
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hitmap.build import toolchain
from puzzles import puzzle
from puzzles.puzzle import Puzzle

WRAPPER = Path(sys.executable).parent / "hitmap-clang++"
# Read here: sysconfig fills its table at the first call, and not for two threads at once.
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
# Builds beside the ordinary ones: folders in .hitmap, and variants of the compiler wrapper.
VARIANTS = ("comparisons", "asan")
HARNESS = """\
import hitmap

import {name}


@hitmap.harness
def run(data):
    {name}.run(data)
"""


class Built:
    """The folder of what was built; each puzzle is compiled once, and one that fails to fails alone."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.done: dict[str, Exception | None] = {}
        self.beside = folder / "beside"
        for name in VARIANTS:
            (self.beside / ".hitmap" / name).mkdir(parents=True, exist_ok=True)

    def harness(self, name: str | Path) -> Path:
        """The harness file of a puzzle, which is built after this call; a path is a harness already."""
        if isinstance(name, Path):
            return name
        self.all([puzzle.read(puzzle.FOLDER / f"{name}.cpp")])
        if failure := self.done[name]:
            raise failure
        own = puzzle.FOLDER / f"{name}_harness.py"
        beside = self.beside / f"{name}_harness.py"
        return next((path for path in (own, beside) if path.exists()), self.folder / f"{name}_harness.py")

    def all(self, wanted: list[Puzzle]) -> None:
        """Compiles what is missing, a file a core at a time."""
        missing = [p for p in wanted if p.name not in self.done]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for p, failure in zip(missing, pool.map(self.tried, missing), strict=True):
                self.done[p.name] = failure

    def tried(self, p: Puzzle) -> Exception | None:
        try:
            self.one(p)
        except Exception as failure:
            return failure
        return None

    def one(self, p: Puzzle) -> None:
        libraries = []
        for source in p.links:
            library = self.folder / f"lib{source.stem}.so"
            compiled(source, library)
            libraries += [str(library), "-Wl,-rpath,$ORIGIN"]
        for source in p.beside:
            compiled(source, self.module(source.stem), *libraries)
        if p.compares:
            self.twice(p, "comparisons")
            return
        if p.asan:
            self.twice(p, "asan")
            return
        if p.pad:
            self.padded(p, libraries)
        else:
            compiled(p.source, self.module(p.name), *libraries)
        if not (puzzle.FOLDER / f"{p.name}_harness.py").exists():
            (self.folder / f"{p.name}_harness.py").write_text(HARNESS.format(name=p.name))

    def twice(self, p: Puzzle, variant: str) -> None:
        module = f"{p.name}{SUFFIX}"
        folder = self.beside / ".hitmap" / variant
        compiled(p.source, self.beside / module)
        compiled(p.source, folder / module, f"--hitmap-variant={variant}")
        if variant == "asan":
            command = [toolchain.find(), f"-print-file-name=libclang_rt.asan-{platform.machine()}.so"]
            library = subprocess.run(command, capture_output=True, text=True, check=True)
            (folder / "preload").write_text(library.stdout)
        (self.beside / f"{p.name}_harness.py").write_text(HARNESS.format(name=p.name))

    def padded(self, p: Puzzle, libraries: list[str]) -> None:
        totals = []
        for pad in range(p.pad):
            compiled(p.source, self.module(p.name), *libraries, f"-DPAD={pad}")
            totals.append(self.edges(p.name))
            if totals[-1] % p.pad == 0:
                return
        raise AssertionError(f"{p.name}: no PAD makes its edges a multiple of {p.pad}: {totals}")

    def module(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"

    def edges(self, name: str) -> int:
        script = f"import hitmap, {name}; print(hitmap.coverage().total)"
        run = subprocess.run(
            [sys.executable, "-c", script], env=self.environment(), capture_output=True, text=True, check=True
        )
        return int(run.stdout)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.folder)}


def compiled(source: Path, output: Path, *flags: str) -> None:
    includes = [f"-I{sysconfig.get_paths()['include']}"]
    if "pybind11" in source.read_text():
        import pybind11

        includes.append(f"-I{pybind11.get_include()}")
    command = [WRAPPER, "-O1", "-g", "-std=c++17", "-fPIC", "-shared", "-fvisibility=hidden"]
    run = subprocess.run(
        [*map(str, command), *includes, str(source), "-o", str(output), *flags], capture_output=True, text=True
    )
    assert run.returncode == 0, f"{source.name} does not compile:\n{run.stdout}{run.stderr}"
