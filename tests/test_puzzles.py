"""Every puzzle keeps what its source promises, under each of its seeds."""

import pytest

from puzzles.puzzle import KINDS, Puzzle, all_puzzles

CASES = [pytest.param(p, seed, id=f"{p}-seed{seed}") for p in all_puzzles() for seed in p.seeds]
REPORT = {
    "kind": str,
    "signature": str,
    "title": str,
    "signal": (int, type(None)),
    "exit_code": (int, type(None)),
    "frames": list,
    "python_frames": list,
    "input": str,
    "input_len": int,
    "reproduces": bool,
    "harness": str,
    "found_execs": int,
    "replay": str,
}
FRAME = {"function", "file", "line", "module", "offset"}


@pytest.mark.parametrize(("puzzle", "seed"), CASES)
def test_puzzle_ends_as_its_source_says(puzzle: Puzzle, seed: int, built, hitmap_, seeds, out):
    flags = [*puzzle.flags, "--max-execs", puzzle.within, "--seed", seed, "-j", 1]
    if puzzle.asan:
        flags += ["--asan"]
    if puzzle.dictionary:
        words = out.folder.with_name("words.dict")
        words.write_text("".join(f"word{n}={quoted}\n" for n, quoted in enumerate(puzzle.dictionary)))
        flags += ["-x", words]
    ended = hitmap_("fuzz", built.harness(puzzle.name), "-i", seeds(*puzzle.start), "-o", out.folder, *flags)

    assert out.kinds == puzzle.found, ended.said
    assert ended.code == (1 if puzzle.found else 0), ended.said
    assert "Traceback" not in ended.err, ended.err
    assert out.count("execs_done") >= puzzle.within, f"the campaign stopped early\n{ended.said}"
    assert out.count("edges_found") >= puzzle.covers
    for finding in out.findings:
        check_report(finding)
    for function in puzzle.where:
        stacks = [finding.functions for finding in out.findings]
        assert sum(function in words_of(stack) for stack in stacks) == 1, (function, stacks)
    for word in puzzle.title:
        titles = [finding.report["title"] for finding in out.findings]
        assert sum(word in title for title in titles) == 1, (word, titles)
    for word in puzzle.says:
        assert word in ended.said, ended.said
    for word in puzzle.silent:
        assert word not in ended.said


def words_of(stack: list[str]) -> set[str]:
    """Bare names, without arguments and namespaces."""
    return {function.split("(")[0].split("::")[-1].strip() for function in stack}


def check_report(finding) -> None:
    report = finding.report
    for key, kinds in REPORT.items():
        assert key in report, f"report.json has no `{key}`"
        assert isinstance(report[key], kinds), (key, report[key])
    assert report["kind"] == finding.kind
    assert report["kind"] in KINDS
    assert finding.folder.name == f"{report['kind']}-{report['signature']}"
    assert report["title"].strip()
    assert (report["signal"] is not None) == (report["kind"] == "signal"), report
    assert (report["exit_code"] is not None) == (report["kind"] == "exit"), report
    assert len(finding.input.read_bytes()) == report["input_len"]
    assert report["reproduces"], report
    assert 0 < report["found_execs"]
    assert "replay" in report["replay"]
    for frame in report["frames"]:
        assert FRAME <= frame.keys(), frame
