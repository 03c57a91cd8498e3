"""Fixtures: harness files and workers that run them."""

import sys
import textwrap
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import engine as played  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory):
    """Campaigns of tests are remembered in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def harness(tmp_path):
    """Writes a harness file; the text is the body of the function, or a whole file when it defines one itself."""

    def write(text: str, name: str = "target.py", expected: str = "") -> Path:
        text = textwrap.dedent(text)
        if "@hitmap" not in text:
            body = textwrap.indent(text.strip("\n"), "    ")
            text = f"import os\nimport sys\nimport hitmap\n\n\n@hitmap.harness({expected})\ndef run(data):\n{body}\n"
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def worker(harness):
    """Starts a worker with its first child on a function body; all workers end with the test."""
    engines = []

    def start(text: str, expected: str = "", **options) -> played.Engine:
        engines.append(played.Engine(harness(text, expected=expected), **options))
        return engines[-1].start()

    yield start
    for engine in engines:
        engine.__exit__()
