"""hitmap, from the wheel that `make wheel` built, in a virtual environment as its users have one.

Packages come in by `hitmap build`, with its own defaults: assertions of the library stay in.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from peers.peer import HOME, ROOT, Peer, Run, Unavailable, called
from targets import Target

# `hitmap fuzz`: no finding, and findings.
ENDED = (0, 1)


class Hitmap(Peer):
    name = "hitmap"
    venv = HOME / "hitmap"
    python = venv / "bin" / "python"
    stamp = venv / ".installed"

    def install(self) -> None:
        wheels = list((ROOT / "target" / "wheels").glob("hitmap-*.whl"))
        if len(wheels) != 1:
            raise Unavailable("target/wheels should hold one wheel of hitmap; run `make wheel`")
        if self.stamp.exists() and self.stamp.stat().st_mtime > wheels[0].stat().st_mtime:
            return
        called([sys.executable, "-m", "venv", "--clear", self.venv], os.environ)
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        called([*pip, *wheels], os.environ)
        self.stamp.touch()

    def version(self) -> str:
        command = [self.python, "-c", "import importlib.metadata as m; print(m.version('hitmap'))"]
        return f"hitmap {subprocess.run(command, capture_output=True, text=True).stdout.strip()}"

    def is_newer_than(self, stamp: Path) -> bool:
        return self.stamp.stat().st_mtime > stamp.stat().st_mtime

    def compilers(self) -> dict[str, str]:
        return {"CC": str(self.venv / "bin" / "hitmap-clang"), "CXX": str(self.venv / "bin" / "hitmap-clang++")}

    def build_package(self, package: str, built: Path) -> None:
        called([self.venv / "bin" / "hitmap", "build", package], os.environ)

    def fuzz(self, target: Target, seconds: float, seed: int, folder: Path) -> Run:
        command = [self.venv / "bin" / "hitmap", "fuzz", target.harness(self.name), "-i", target.seeds, "-o", "out"]
        options = ["-j", "1", "--max-len", "4096", "--seed", str(seed), "--max-time", str(seconds)]
        usage, said = self.campaign(target, [*command, *options], seconds, folder)
        if usage.code not in ENDED:
            raise Unavailable(f"hitmap fuzz ended with {usage.code}:\n{said[-2000:]}")
        stats = (folder / "out" / "w0" / "fuzzer_stats").read_text()
        [runs] = re.findall(r"^execs_done\s*: (\d+)$", stats, re.MULTILINE)
        return Run(int(runs), usage.cpu, usage.wall)
