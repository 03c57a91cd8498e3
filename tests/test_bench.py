"""`hitmap bench`: the parts of a run's time, and what would help."""

import json

PARTS = {"mutation", "comparisons", "hand_over", "harness", "map", "forks", "judging", "rest"}


def test_the_parts_of_the_time_are_all_of_it(built, hitmap_, seeds, out):
    ended = hitmap_("bench", built.harness("nested_compares"), "-i", seeds(b"start"), "--max-execs", 30000, "--json")
    assert ended.code == 0, ended.said
    told = json.loads(ended.out)
    assert set(told["nanos"]) == PARTS
    assert 29_000 < told["runs"] <= 30_000, "seeds run before the clock starts"
    assert sum(told["nanos"].values()) >= told["nanos_all"] * 0.99
    assert all(told["nanos"][part] > 0 for part in ("mutation", "hand_over", "harness", "map"))
    assert told["edges_swept"] > 0 and told["edges_journalled"] == 0
    assert told["advice"]
    assert not out.folder.exists()


def test_what_would_help_is_said(built, hitmap_, seeds):
    ended = hitmap_("bench", built.harness("sleeps"), "-i", seeds(b"ab"), "--max-execs", 300)
    assert ended.code == 0, ended.said
    assert "harness" in ended.out and "µs a run" in ended.out
    assert "% of the time is the harness's own" in ended.out, ended.out


def test_a_harness_without_coverage_is_refused(hitmap_, tmp_path):
    (tmp_path / "plain.py").write_text("def run(data): pass\n")
    ended = hitmap_("bench", "plain.py:run")
    assert ended.code == 4 and "no instrumented library" in ended.err, ended.said
