"""Programs of the environment on a build's path."""

import os
import subprocess
import sys

import pytest

from hitmap.build import tools

# What pip's isolated builds do to every Python of the same kind.
SITECUSTOMIZE = "import sys\nsys.path[:] = [path for path in sys.path if 'site-packages' not in path]\n"
NEEDS_A_PACKAGE = "import pytest, os\nprint(pytest.__version__, os.environ.get('PYTHONPATH'))\n"
BIN = os.path.dirname(sys.executable)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(tools, "scripts", lambda: str(tmp_path / "bin"))
    return tmp_path / "bin"


def put(folder, name, text, mode=0o755):
    (folder / name).write_text(text)
    (folder / name).chmod(mode)


@pytest.mark.parametrize("first", [
    f"#!{sys.executable}\n", f"#!{BIN}/python3 -s\n", f"#!{BIN}/python\n# -*- coding: utf-8 -*-\n",
    f"#!/bin/sh\n'''exec' {sys.executable} \"$0\" \"$@\"\n' '''\n", f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n",
])
def test_a_script_finds_its_package_in_an_isolated_build_and_leaves_the_isolation_to_others(tmp_path, folder, first):
    put(folder, "cmake", first + NEEDS_A_PACKAGE)
    (tmp_path / "isolated").mkdir()
    (tmp_path / "isolated" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    isolated = str(tmp_path / "isolated")
    environ = {**os.environ, "PYTHONPATH": isolated}
    assert subprocess.run([folder / "cmake"], env=environ, capture_output=True).returncode != 0, "it fails by itself"
    path = os.pathsep.join([*tools.write(str(tmp_path / "tools")), os.environ["PATH"]])
    done = subprocess.run(["cmake"], env={**environ, "PATH": path}, capture_output=True, text=True)
    assert done.stdout.split() == [pytest.__version__, isolated], done.stderr


@pytest.mark.parametrize("name, text, mode", [
    ("pip", f"#!{sys.executable}\n", 0o755), ("pip3.11", f"#!{sys.executable}\n", 0o755), ("python-config", f"#!{sys.executable}\n", 0o755),
    ("other", "#!/usr/bin/python3\n", 0o755), ("shell", "#!/bin/sh\necho\n", 0o755), ("data", f"#!{sys.executable}\n", 0o644),
    ("binary", "\x7fELF", 0o755), ("empty", "", 0o755), ("hitmap-clang", f"#!{sys.executable}\n", 0o755),
])
def test_everything_else_is_left_as_it_is(tmp_path, folder, name, text, mode):
    put(folder, name, text, mode)
    assert tools.write(str(tmp_path / "tools")) == [str(tmp_path / "tools"), str(folder)]
    assert os.listdir(tmp_path / "tools") == []


def test_an_environment_without_a_folder_for_programs_is_fine(tmp_path, monkeypatch):
    monkeypatch.setattr(tools, "scripts", lambda: str(tmp_path / "nowhere"))
    assert len(tools.write(str(tmp_path / "tools"))) == 2
