"""AFL++ of Debian around a Python process, in the two ways that count native edges at all.

Neither works as its documentation says, because a shared object that `afl-clang-fast` compiled brings no AFL runtime:
it is linked here by hand from the object file that Debian ships, and preloaded together with the extension, so that the
map is laid out before the fork server starts. The fork server has to wait for Python: the internal variable
`__AFL_DEFER_FORKSRV` does that, the documented one is ignored when the check of the binary is skipped.

- `python-afl` is what users find first: input by standard input, a stop and a continue signal a run.
- `afl-expert` is the best that we could do by hand: AFL's own persistent loop and shared memory by ctypes.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from peers.builder import HOME, RECORD, Unavailable, called, environment
from peers.peer import DRIVERS, Command, Peer, executions
from targets import Target

VERSION = "0.7.3"
RUNTIME = Path("/usr/lib/afl/afl-compiler-rt.o")
LIBRARY = HOME / "afl" / "libaflrt.so"


class PythonAfl(Peer):
    name = "python-afl"
    variant = "afl"
    venv = HOME / "afl"
    python = venv / "bin" / "python"
    driver = "python_afl_driver.py"

    def install(self) -> None:
        if not RUNTIME.exists() or not shutil.which("afl-clang-fast"):
            raise Unavailable("AFL++ is not installed; on Debian: apt-get install afl++")
        environment(self.venv, self.venv / f".python-afl-{VERSION}", f"python-afl=={VERSION}")
        if not LIBRARY.exists():
            called(["gcc", "-shared", "-o", LIBRARY, RUNTIME, "-ldl", "-lrt"], os.environ)

    def version(self) -> str:
        return f"python-afl {VERSION}, AFL++ {afl_version()}"

    def compilers(self, target: Target) -> dict[str, str]:
        # It would unroll loops, which nobody else does.
        tools = {"CC": f"afl-clang-fast {RECORD}", "CXX": f"afl-clang-fast++ {RECORD}"}
        return {**tools, "AFL_QUIET": "1", "AFL_DONT_OPTIMIZE": "1"}

    def command(self, target: Target, seed: int, folder: Path) -> Command:
        [extension] = self.built(target).glob("*.so")
        variables = {
            "AFL_PRELOAD": f"{LIBRARY}:{extension}",
            "__AFL_DEFER_FORKSRV": "1",
            "AFL_SKIP_BIN_CHECK": "1",
            "AFL_SKIP_CPUFREQ": "1",
            "AFL_NO_UI": "1",
            "AFL_NO_AFFINITY": "1",
            "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
            **self.more(),
        }
        options = ["-s", str(seed), "-G", "4096", "-i", target.seeds, "-o", "out"]
        return Command([*self.fuzzer(), *options, "--", self.python, DRIVERS / self.driver], variables)

    def fuzzer(self) -> list[str | Path]:
        return [self.venv / "bin" / "py-afl-fuzz"]

    def more(self) -> dict[str, str]:
        return {}

    def runs(self, folder: Path, said: str) -> int | None:
        return executions(folder / "out" / "default" / "fuzzer_stats")

    def corpus(self, folder: Path) -> Path:
        return folder / "out" / "default" / "queue"

    def findings(self, folder: Path) -> list[Path]:
        return list(folder.glob("out/default/crashes/id*"))


class AflExpert(PythonAfl):
    name = "afl-expert"
    driver = "afl_expert_driver.py"

    def version(self) -> str:
        return f"AFL++ {afl_version()}, expert set-up"

    def fuzzer(self) -> list[str | Path]:
        return ["afl-fuzz"]

    def more(self) -> dict[str, str]:
        return {"__AFL_PERSISTENT": "1"}


def afl_version() -> str:
    said = subprocess.run(["afl-fuzz", "-h"], capture_output=True, text=True)
    found = re.search(r"afl-fuzz\+\+([0-9.]+\w*)", said.stdout + said.stderr)
    return found[1] if found else "unknown"
