"""examples/tvm on apache-tvm-ffi: scikit-build-core, CMake and Cython, three libraries that need each other."""

import os
import re
import subprocess
import sys
from pathlib import Path

HITMAP = Path(sys.executable).parent / "hitmap"
EXAMPLE = Path(__file__).parents[3] / "examples" / "tvm"


def test_the_tvm_example_measures_and_fuzzes(environment, tmp_path, monkeypatch):
    # Compiling is nearly all of it: two CPU-minutes without optimisation, four with the project's own.
    monkeypatch.setenv("CMAKE_ARGS", "-DTVM_FFI_USE_LIBBACKTRACE=OFF")
    code, output, messages = environment.build("-O", "0", "--no-comparisons", "apache-tvm-ffi==0.1.15.post2")
    assert code == 0, messages
    assert len([line for line in output.splitlines() if " edges " in line]) == 3, output

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": environment.site}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    lines = run(sys.executable, EXAMPLE / "measure.py").splitlines()
    loaded, calls, last = lines[:3], lines[3:-1], lines[-1]
    # Without optimisation there are more than 250,000 edges, so these are guards: what the libraries' initialisers run is
    # counted because the runtime is there before them.
    for line in loaded:
        hits, edges = (int(number.replace(",", "")) for number in re.findall(r"\b\d[\d,]*\b", line)[:2])
        assert 1000 < hits < edges and edges > 10_000, line
    assert len(calls) == 6 and all(int(line.split()[0].replace(",", "")) > 0 for line in calls), calls
    assert int(last.split()[0].replace(",", "")) > 0 and "by memcov's calls" in last

    run(HITMAP, "fuzz", EXAMPLE / "json_harness.py", "-i", EXAMPLE / "seeds", "--max-execs", "5000", "--seed", "1")
    stats = (tmp_path / "out" / "w0" / "fuzzer_stats").read_text()
    assert int(re.search(r"^edges_found *: (\d+)", stats, re.M)[1]) > 500, stats
