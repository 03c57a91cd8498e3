"""Runs hitmap's command line as a user would, and reads what it left in the campaign folder.

Owns the processes that it starts: each run is marked in its environment, so that whatever outlives it is found,
however it re-parented itself.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

HITMAP = Path(sys.executable).parent / "hitmap"
MARK = "HITMAP_TEST_RUN"
# How long anything may take before a test gives up. It guards against hanging for ever; no test measures time.
PATIENCE = 120

# The names that AFL's tools look for, in their order (afl-whatsup sources the one, afl-plot reads the other).
STATS_KEYS = """
start_time last_update run_time fuzzer_pid cycles_done cycles_wo_finds time_wo_finds fuzz_time calibration_time
cmplog_time sync_time trim_time execs_done execs_per_sec execs_ps_last_min corpus_count corpus_favored corpus_found
corpus_imported corpus_variable max_depth cur_item pending_favs pending_total stability bitmap_cvg saved_crashes
saved_hangs last_find last_crash last_hang execs_since_crash exec_timeout slowest_exec_ms peak_rss_mb cpu_affinity
edges_found total_edges var_byte_count havoc_expansion auto_dict_entries testcache_size testcache_count
testcache_evict afl_banner afl_version target_mode command_line
""".split()
PLOT_HEADER = (
    "# relative_time, cycles_done, cur_item, corpus_count, pending_total, pending_favs, map_size, saved_crashes, "
    "saved_hangs, max_depth, execs_per_sec, total_execs, edges_found"
)


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


class Running:
    """A run that goes on; leaving the `with` block ends whatever is left of it."""

    def __init__(self, arguments, environment, cwd):
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [str(HITMAP), *map(str, arguments)],
            env={**environment, MARK: self.mark, "NO_COLOR": "1"},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()

    def signal(self, number) -> None:
        """As a terminal does it: to the foreground process group."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL to every process of the run, all at once as far as that goes."""
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        until(lambda: not self.alive(), "killed processes to be gone")

    def end(self) -> Ended:
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"hitmap did not end within {PATIENCE} s\n{out}\n{err}") from None
        return Ended(self.process.returncode, out, err)

    def alive(self) -> list[int]:
        """Every process of the run, zombies aside."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                # A zombie's environment reads as empty.
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found


class Hitmap:
    """The command line, in one folder with one environment."""

    def __init__(self, cwd: Path, environment: dict[str, str]):
        self.cwd = cwd
        self.environment = environment

    def start(self, *arguments) -> Running:
        return Running(arguments, self.environment, self.cwd)

    def __call__(self, *arguments) -> Ended:
        """Runs to the end, and sees that nothing of it stays behind."""
        with self.start(*arguments) as running:
            ended = running.end()
            until(lambda: not running.alive(), "every process of the run to end")
        assert "panicked" not in ended.said, ended.said
        return ended


@dataclass(frozen=True)
class Finding:
    folder: Path

    @property
    def report(self) -> dict:
        return json.loads((self.folder / "report.json").read_text())

    @property
    def input(self) -> Path:
        return self.folder / "input"

    @property
    def kind(self) -> str:
        return self.folder.name.partition("-")[0]

    @property
    def functions(self) -> list[str]:
        return [frame["function"] or "" for frame in self.report["frames"]]


@dataclass(frozen=True)
class Campaign:
    """A campaign folder."""

    folder: Path

    @property
    def findings(self) -> list[Finding]:
        return [Finding(path) for path in sorted((self.folder / "findings").glob("[!.]*"))]

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(sorted(finding.kind for finding in self.findings))

    @property
    def workers(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob("*/fuzzer_setup"))

    def queue(self, worker: int = 0) -> dict[str, bytes]:
        """Queue entries of one worker, by name."""
        return {path.name: path.read_bytes() for path in sorted((self.workers[worker] / "queue").glob("id:*"))}

    def stats(self, worker: int = 0) -> dict[str, str]:
        lines = (self.workers[worker] / "fuzzer_stats").read_text().splitlines()
        return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def count(self, key: str) -> int:
        """A number of fuzzer_stats, summed over all workers; 0 while there is none."""
        total = 0
        for worker in range(len(self.workers)):
            with contextlib.suppress(FileNotFoundError):
                total += int(self.stats(worker).get(key) or 0)
        return total


def until(true, what: str) -> None:
    """Polls until `true()`."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        time.sleep(0.02)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, to see that nothing was changed."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
