"""Atheris: libFuzzer inside the Python process.

An extension with coverage needs libFuzzer and a sanitizer's runtime preloaded; Atheris brings two that work, with UBSan
and with ASan. The extension itself is the same for both: compiled with coverage and comparison tracing only, which is
what `-fsanitize=fuzzer-no-link` means. Only the compiler is needed for that; the runtime comes with Atheris. Python
code is not instrumented, as hitmap does not instrument it either.

Atheris ends at its first finding. `again` starts it anew on the same corpus, as its users do by hand.
"""

import re
import signal
from pathlib import Path

from peers.builder import CLANG, CLANGXX, HOME, RECORD, environment
from peers.peer import DRIVERS, Command, Peer
from targets import Target

VERSION = "3.0.0"
# libFuzzer's exit codes: done, interrupted, and its three kinds of findings.
INTERRUPTED, FOUND = (0, 72), (70, 71, 77)


class Atheris(Peer):
    name = "atheris"
    variant = "atheris"
    preload = "ubsan_with_fuzzer.so"
    venv = HOME / "atheris"
    python = venv / "bin" / "python"
    again = False

    def install(self) -> None:
        environment(self.venv, self.venv / f".atheris-{VERSION}", "--only-binary", ":all:", f"atheris=={VERSION}")

    def version(self) -> str:
        return f"Atheris {VERSION}, UBSan preload"

    def compilers(self, target: Target) -> dict[str, str]:
        options = f"{RECORD} -fsanitize=fuzzer-no-link"
        return {"CC": f"{CLANG} {options}", "CXX": f"{CLANGXX} {options}"}

    def command(self, target: Target, seed: int, folder: Path) -> Command:
        # libFuzzer writes what it keeps into the first folder, and only reads the second.
        self.corpus(folder).mkdir()
        [preload] = self.venv.glob(f"lib/python3*/site-packages/{self.preload}")
        limits = ["-max_len=4096", "-detect_leaks=0", "-handle_term=1", "-print_final_stats=1"]
        argv = [self.python, DRIVERS / "atheris_driver.py", self.corpus(folder), target.seeds, *limits]
        argv += [f"-seed={seed}", f"-artifact_prefix={folder}/found-"]
        # Without the second setting, what LeakSanitizer does at exit costs a second.
        variables = {"LD_PRELOAD": str(preload), "ASAN_OPTIONS": "detect_leaks=0"}
        if self.again:
            loaded = [f"{name}={value}" for name, value in variables.items()]
            return Command([self.python, DRIVERS / "again.py", *loaded, "--", *argv], {}, signal.SIGTERM)
        return Command(argv, variables, signal.SIGTERM, [*INTERRUPTED, *FOUND])

    def runs(self, folder: Path, said: str) -> int | None:
        runs = re.findall(r"^stat::number_of_executed_units:\s*(\d+)$", said, re.MULTILINE)
        return sum(map(int, runs)) if runs else None

    def corpus(self, folder: Path) -> Path:
        return folder / "corpus"

    def findings(self, folder: Path) -> list[Path]:
        return list(folder.glob("found-*"))


class AtherisAsan(Atheris):
    name = "atheris-asan"
    preload = "asan_with_fuzzer.so"

    def version(self) -> str:
        return f"Atheris {VERSION}, ASan preload"


class AtherisAgain(Atheris):
    name = "atheris-again"
    again = True

    def version(self) -> str:
        return f"Atheris {VERSION}, UBSan preload, started again after each finding"
