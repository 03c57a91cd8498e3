"""A Python of its own to install into, shared by the tests that install."""

import os
import subprocess
import sys

import pytest

import hitmap.build


class Environment:
    """A virtual environment that sees nothing of the Python that runs the tests."""

    def __init__(self, folder):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        self.python = os.path.join(folder, "bin", "python")
        self.site = self.ask("import sysconfig; print(sysconfig.get_path('platlib'))")
        self.beside = os.path.join(folder, ".hitmap")

    def ask(self, code):
        return subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()

    def build(self, *words, comparisons=False):
        """`hitmap build` in it, without the native half, and without the second build unless a test is
        about that. Returns (exit code, output, messages)."""
        words = words if comparisons or words[:1] == ("flags",) else [*words, "--no-comparisons"]
        done = subprocess.run(self.command(words), capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def start(self, *words, **environ):
        """The same, left running."""
        return subprocess.Popen(self.command(words), env={**os.environ, **environ}, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, start_new_session=True)

    def command(self, words):
        start = ("import sys; parent = type(sys)('hitmap'); parent.__path__ = [sys.argv.pop(1)]; "
                 "sys.modules['hitmap'] = parent; from hitmap.build.__main__ import main; sys.exit(main())")
        package = os.path.dirname(os.path.dirname(hitmap.build.__file__))
        return [self.python, "-c", start, package, *map(str, words)]


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    return Environment(str(tmp_path_factory.mktemp("environment") / "venv"))
