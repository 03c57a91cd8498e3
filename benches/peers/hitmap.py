"""hitmap, from the wheel that `make wheel` built, in a virtual environment as its users have one: one for each target.

Packages come in by `hitmap build`, with its own defaults: assertions of the library stay in.
"""

import functools
import os
import sys
from pathlib import Path

from peers.builder import HOME, ROOT, Unavailable, called, plain, recording
from peers.peer import Command, Peer, executions
from targets import Target

# `hitmap fuzz`: no finding, findings, interrupted.
ENDED = (0, 1, 2)


class Hitmap(Peer):
    name = "hitmap"

    def install(self) -> None:
        self.version()

    def wheel(self) -> Path:
        wheels = list((ROOT / "target" / "wheels").glob("hitmap-*.whl"))
        if len(wheels) != 1:
            raise Unavailable("target/wheels should hold one wheel of hitmap; run `make wheel`")
        return wheels[0]

    @functools.cache
    def version(self) -> str:
        """Looked up once, so that a wheel that is built anew meanwhile costs no figures."""
        return f"hitmap {self.wheel().name.split('-')[1]}"

    def bin(self, target: Target) -> Path:
        return HOME / "hitmap" / target.name / "bin"

    def is_newer_than(self, stamp: Path) -> bool:
        return self.wheel().stat().st_mtime > stamp.stat().st_mtime

    def build(self, target: Target) -> None:
        stamp = self.bin(target).parent / ".installed"
        if not stamp.exists() or self.is_newer_than(stamp):
            called([sys.executable, "-m", "venv", "--clear", stamp.parent], os.environ)
            pip = [self.bin(target) / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            called([*pip, self.wheel()], os.environ)
            stamp.touch()
        super().build(target)

    def compilers(self, target: Target) -> dict[str, str]:
        return {"CC": str(self.bin(target) / "hitmap-clang"), "CXX": str(self.bin(target) / "hitmap-clang++")}

    def build_package(self, target: Target, built: Path) -> None:
        compiler = {"CC": str(recording(HOME / "recording"))}
        called([self.bin(target) / "hitmap", "build", *target.hitmap_build, str(target.package)], {**plain(), **compiler})

    def libraries(self, target: Target) -> list[Path]:
        """The ordinary build and those beside it; not hitmap's own."""
        folder = self.bin(target).parent
        found = {*folder.glob("lib/python3*/site-packages/**/*.so"), *folder.glob(".hitmap/**/*.so")} if target.package else set()
        return sorted({path for path in found if "hitmap" not in path.parent.parts[len(folder.parts):]} | {*super().libraries(target)})

    def build_file(self, target: Target, source: Path, built: Path) -> None:
        """Twice, as `hitmap build` does it, unless a target wants something else."""
        super().build_file(target, source, built, *target.hitmap_build)
        if target.hitmap_build:
            return
        compared = built / ".hitmap" / "comparisons"
        compared.mkdir(parents=True)
        super().build_file(target, source, compared, "--hitmap-variant=comparisons")

    def command(self, target: Target, seed: int, folder: Path) -> Command:
        argv = [self.bin(target) / "hitmap", "fuzz", target.folder / "hitmap_harness.py", "-i", target.seeds]
        options = ["-o", "out", "-j", "1", "--max-len", "4096", "--seed", str(seed), *target.hitmap_fuzz]
        return Command([*argv, *options], good=ENDED)

    def runs(self, folder: Path, said: str) -> int | None:
        return executions(folder / "out" / "w0" / "fuzzer_stats")

    def corpus(self, folder: Path) -> Path:
        return folder / "out" / "w0" / "queue"

    def findings(self, folder: Path) -> list[Path]:
        return list(folder.glob("out/findings/*/report.json"))
