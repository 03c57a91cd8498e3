"""`examples/compiler-passes` finds the bug that waits for a program and an order of passes."""

import json
from pathlib import Path

import pytest

from campaign import Campaign
from puzzles.build import compiled

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "compiler-passes"
EXECUTIONS = 200_000


@pytest.fixture(scope="module")
def compiler(built):
    compiled(EXAMPLE / "passes.cpp", built.module("passes"))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_bug_is_found(compiler, hitmap_, out, seed):
    ended = hitmap_(
        "fuzz", EXAMPLE / "passes_harness.py", "-o", out.folder, "--max-execs", EXECUTIONS, "--seed", seed, "-j", 1
    )
    [finding] = out.findings
    assert ended.code == 1, ended.said
    assert finding.kind == "signal"
    assert any("legalize" in function for function in finding.functions)
    assert finding.report["reproduces"]
    program, order = json.loads(finding.input.read_bytes())
    assert "mul" in json.dumps(program)
    assert order.index("strength") < len(order) - 1 - order[::-1].index("legalize")
    assert not (out.workers[0] / "mutators.txt").exists()


def test_chance_on_the_bytes_does_not_find_it(compiler, hitmap_, tmp_path):
    """The same harness without its own functions, from an input that has all words."""
    harness = tmp_path / "bytes_harness.py"
    text = (EXAMPLE / "passes_harness.py").read_text()
    harness.write_text(text.replace(", generator=generator, mutator=mutator, crossover=crossover", ""))
    assert "generator=" not in harness.read_text()
    start = tmp_path / "start"
    start.mkdir()
    (start / "seed").write_text('[["mul",["add","x",1],4],["fold","simplify","canonicalize"]]')
    campaign = Campaign(tmp_path / "out")
    ended = hitmap_("fuzz", harness, "-i", start, "-o", campaign.folder, "--max-execs", EXECUTIONS, "--seed", 1, "-j", 1)
    assert ended.code == 0, ended.said
