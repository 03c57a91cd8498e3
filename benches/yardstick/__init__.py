"""The common yardstick: how many edges of a target a corpus reaches, counted by none of the peers.

The target is built once more with the compiler's bool flags and a runtime of thirty lines, and every input runs through
`call.py`. hitmap, libFuzzer and AFL++ number and prune edges in their own ways; here all are counted alike.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from peers.builder import CLANG, CLANGXX, HOME, RECORD, Builder, Unavailable, called
from targets import Target

HERE = Path(__file__).resolve().parent
LIBRARY = HOME / "targets" / "yardstick" / "libyardstick.so"
COVERAGE = "-fsanitize-coverage=edge,inline-bool-flag"


class Yardstick(Builder):
    name = "yardstick"

    def compilers(self, target: Target) -> dict[str, str]:
        # cmarkgfm compiles in a child that keeps CFLAGS only, so the flags travel with the compiler.
        return {"CC": f"{CLANG} {RECORD} {COVERAGE}", "CXX": f"{CLANGXX} {RECORD} {COVERAGE}"}

    def build(self, target: Target) -> None:
        LIBRARY.parent.mkdir(parents=True, exist_ok=True)
        called([CLANG, "-O2", "-shared", "-fPIC", HERE / "runtime.c", "-o", LIBRARY], os.environ)
        super().build(target)

    def edges(self, target: Target, corpora: Sequence[Path]) -> int:
        """Edges that the files in these folders reach together, those that import reaches left out.

        Raises:
            Unavailable: when the replay fails.
        """
        path = os.pathsep.join(map(str, [self.built(target), target.folder]))
        command = [sys.executable, HERE / "replay.py", LIBRARY, *corpora]
        run = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
        if run.returncode != 0:
            raise Unavailable(f"the yardstick failed:\n{run.stderr[-2000:]}")
        return int(json.loads(run.stdout)["edges"])
