"""Hypothesis tests as harnesses: choices are mutated under native coverage, failures land where pytest finds them."""

import subprocess
import sys

import pytest

LIBRARY = "dictionary_word"

PROPERTY = f"""
from hypothesis import assume, given, settings, strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
import {LIBRARY}

# One example of pytest's own, so what fails was in the database, which Hypothesis would not keep under CI.
settings.register_profile("here", max_examples=1, database=DirectoryBasedExampleDatabase("kept"))
settings.load_profile("here")

class Unlucky(Exception): pass

@given(st.lists(st.integers(0, 1000), max_size=6), st.text(max_size=20))
def test_values(numbers, text):
    {LIBRARY}.run(text.encode())
    assume(len(numbers) > 1)
    if sum(numbers) > 1500:
        raise Unlucky(numbers)

class TestMethods:
    limit = 100
    @given(st.binary(), st.data())
    def test_drawn(self, data, draw):
        more = draw.draw(st.integers())
        if more > self.limit and len(data) > 3:
            raise Unlucky(more)

@given(st.integers())
def test_death(number):
    if number > 70_000:
        import os
        {LIBRARY}.run(b"x")
        os.abort()

@given(st.integers())
def test_with_fixture(tmp_path, number): pass
"""


@pytest.fixture
def tests(tmp_path):
    path = tmp_path / "test_properties.py"
    path.write_text(PROPERTY)
    return path


def pytest_on(tests, name, env):
    """Plain pytest."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"{tests.name}::{name}"]
    return subprocess.run(command, cwd=tests.parent, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("name, shrunk", [("test_values", "Unlucky"), ("TestMethods::test_drawn", "Unlucky: 101")])
def test_a_failure_is_found_and_replayed_and_shrunk_by_pytest(hitmap_, built, tests, out, name, shrunk):
    built.harness(LIBRARY)
    run = hitmap_("fuzz", f"{tests.name}::{name}", "-o", out.folder, "--max-execs", 20_000, "--seed", 3)
    assert run.code == 1, run.said
    assert any("Unlucky" in finding.report["title"] for finding in out.findings), run.said
    replayed = pytest_on(tests, name, hitmap_.environment)
    assert replayed.returncode == 1, replayed.stdout
    assert shrunk in replayed.stdout, replayed.stdout


def test_a_death_is_kept_for_pytest_too(hitmap_, built, tests, out):
    built.harness(LIBRARY)
    run = hitmap_("fuzz", f"{tests.name}::test_death", "-o", out.folder, "--max-execs", 200, "--seed", 3)
    assert run.code == 1, run.said
    replayed = pytest_on(tests, "test_death", hitmap_.environment)
    assert replayed.returncode < 0, replayed.stdout


def test_what_wants_fixtures_says_so(hitmap_, built, tests, out):
    built.harness(LIBRARY)
    run = hitmap_("fuzz", f"{tests.name}::test_with_fixture", "-o", out.folder, "--max-execs", 10)
    assert run.code == 4
    assert "wants tmp_path from pytest" in run.said
