"""Atheris: libFuzzer inside the Python process.

An extension with coverage needs libFuzzer and a sanitizer's runtime preloaded. Of the two preloads that Atheris brings
for C extensions this is the faster, UBSan's: the extension itself is compiled with coverage and comparison tracing
only, which is what `-fsanitize=fuzzer-no-link` means. Only the compiler is needed for that; the runtime comes with
Atheris. Python code is not instrumented, as hitmap does not instrument it either.
"""

import os
import re
import sys
from pathlib import Path

from peers.peer import CLANG, HOME, Peer, Run, Unavailable, called
from targets import Target

VERSION = "3.0.0"
PRELOAD = "ubsan_with_fuzzer.so"
# Python's own setting for C++ is the C compiler's name with this ending.
CLANGXX = CLANG.replace("clang", "clang++")


class Atheris(Peer):
    name = "atheris"
    venv = HOME / "atheris"
    python = venv / "bin" / "python"

    def install(self) -> None:
        stamp = self.venv / f".atheris-{VERSION}"
        if stamp.exists():
            return
        called([sys.executable, "-m", "venv", "--clear", self.venv], os.environ)
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        called([*pip, "--only-binary", ":all:", f"atheris=={VERSION}"], os.environ)
        stamp.touch()

    def version(self) -> str:
        return f"Atheris {VERSION}, UBSan preload"

    def compilers(self) -> dict[str, str]:
        coverage = "-fsanitize=fuzzer-no-link"
        return {"CC": CLANG, "CXX": CLANGXX, "CFLAGS": coverage, "CXXFLAGS": coverage}

    def preload(self) -> Path:
        [found] = self.venv.glob(f"lib/python3*/site-packages/{PRELOAD}")
        return found

    def fuzz(self, target: Target, seconds: float, seed: int, folder: Path) -> Run:
        # libFuzzer writes what it keeps into the first folder, and only reads the second.
        corpus = folder / "corpus"
        corpus.mkdir()
        options = ["-max_len=4096", f"-seed={seed}", f"-max_total_time={seconds:.0f}", "-print_final_stats=1"]
        command = [self.python, target.harness(self.name), corpus, target.seeds, *options, "-detect_leaks=0"]
        usage, said = self.campaign(target, command, seconds, folder, {"LD_PRELOAD": str(self.preload())})
        runs = re.findall(r"^stat::number_of_executed_units:\s*(\d+)$", said, re.MULTILINE)
        if usage.code != 0 or not runs:
            raise Unavailable(f"Atheris ended with {usage.code}:\n{said[-2000:]}")
        return Run(int(runs[0]), usage.cpu, usage.wall)
