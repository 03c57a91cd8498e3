"""`hitmap build` on real packages from the index, and a short campaign on each.

Minutes of compilation, so `make test` leaves this folder out; `make test-packages` runs it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HITMAP = Path(sys.executable).parent / "hitmap"

HARNESS = """\
import hitmap
IMPORTS

@hitmap.harness(expected=(Exception,))
def run(data: bytes) -> None:
    BODY
"""

SOLVER = """solver, names = kiwisolver.Solver(), [kiwisolver.Variable(c) for c in "abcd"]
    for one, two in zip(data[::2], data[1::2]):
        solver.addConstraint((names[one % 4] + one >= names[two % 4] * (two + 1)) | "weak")
    solver.updateVariables()"""

# What to build, how it is imported, what to do with bytes, and an input that is good.
PACKAGES = [
    # setuptools
    ("python-rapidjson==1.25", "import rapidjson", "rapidjson.dumps(rapidjson.loads(data))", b'{"a": [1, 2.5, null]}'),
    ("kiwisolver==1.5.1", "import kiwisolver", SOLVER, b"\x01\x02\x03\x04"),
    # setuptools and cffi
    ("cmarkgfm==2025.10.22", "import cmarkgfm", "cmarkgfm.github_flavored_markdown_to_html(data.decode())", b"# A *b*\n\n| c |\n|---|\n"),
    # setuptools and Cython
    ("msgpack==1.2.4", "import msgpack", "msgpack.packb(msgpack.unpackb(data))", b"\x93\x01\xa1a\xc0"),
    ("pysimdjson==7.0.2", "import simdjson", "simdjson.Parser().parse(data)", b'{"a": [1, 2.5, null]}'),
    ("marisa-trie==1.4.1", "import marisa_trie", "marisa_trie.Trie().frombytes(data)", b"We love Marisa.\0"),
    # setuptools and make
    ("jsonnet==0.17.0", "import _jsonnet", '_jsonnet.evaluate_snippet("f", data.decode())', b"{a: 1 + 2}"),
    # meson-python
    ("faust-cchardet==3.2.0", "import cchardet", "cchardet.detect(data)", "Grüße".encode()),
]


@pytest.mark.parametrize("requirement, imports, body, good", PACKAGES, ids=[row[0].partition("=")[0] for row in PACKAGES])
def test_a_package_is_built_imported_and_fuzzed(environment, tmp_path, requirement, imports, body, good):
    code, output, messages = environment.build("-O", "1", "--no-comparisons", requirement)
    assert code == 0, messages
    edges = [int(line.split()[0].replace(",", "")) for line in output.splitlines() if " edges " in line]
    assert sum(edges) > 1000, output

    (tmp_path / "fuzz_it.py").write_text(HARNESS.replace("IMPORTS", imports).replace("BODY", body))
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "good").write_bytes(good)
    done = subprocess.run([HITMAP, "fuzz", "fuzz_it.py", "-i", "seeds", "--max-execs", "5000", "--seed", "1"], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": environment.site}, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    stats = (tmp_path / "out" / "w0" / "fuzzer_stats").read_text()
    found = {key: int(value) for key, value in re.findall(r"^(execs_done|edges_found|corpus_count) *: (\d+)", stats, re.M)}
    assert found["execs_done"] >= 5000 and found["edges_found"] > 20 and found["corpus_count"] > 2, stats
