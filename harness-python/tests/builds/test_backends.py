"""`hitmap build` on one small package for each build backend, under pip's isolation: what each needs comes from the index."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hitmap.build import elf

BACKENDS = Path(__file__).parent / "backends"

# Runs in the Python that has hitmap; the package lies in the other one. A first call covers something, the same again
# nothing, another branch something.
SCRIPT = """\
import sys
sys.path.append(sys.argv[1])
import hitmap, NAME
cov = hitmap.coverage()
seen = []
for n in (1, 1, 50, 500):
    before = cov.hits
    NAME.size(n)
    seen.append(cov.hits > before)
assert seen == [True, False, True, True], seen
files = {module.where(edge).file for module in cov.modules for edge in range(module.edges)}
own = {file for file in files if not file.startswith(("/", "pip-build-env/"))}
assert own and all(file.rpartition("/")[0] == sys.argv[2] for file in own), own
print(*sorted(module.edges > 0 and module.name for module in cov.modules))
"""


@pytest.mark.parametrize("folder, name, libraries", [
    ("cmake", "hm_cmake", ["hm_cmake"]),
    ("scikit_build_core", "hm_scikit", ["hm_scikit", "libhm_sizes"]),
    ("meson", "hm_meson", ["hm_meson"]),
    ("cython", "hm_cython", ["hm_cython"]),
])
def test_every_backend_builds_with_coverage(environment, folder, name, libraries):
    code, output, messages = environment.build("--no-comparisons", BACKENDS / folder)
    assert code == 0, messages
    paths = [Path(line.split()[-1]) for line in output.splitlines()]
    assert sorted(path.name.partition(".")[0] for path in paths) == libraries
    for path in paths:
        data = path.read_bytes()
        built = elf.read(data)
        assert built.instrumented and len(built.build_id) == 40
        assert b".symtab" in data, "findings name functions, so nothing is stripped"
    assert environment.ask(f"import {name}; print([{name}.size(n) for n in (1, 50, 500)])") == "[1, 2, 3]"
    done = subprocess.run([sys.executable, "-c", SCRIPT.replace("NAME", name), paths[0].parent, folder],
                          env={k: v for k, v in os.environ.items() if k != "HITMAP_MAP"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [word.partition(".")[0] for word in done.stdout.split()] == libraries
