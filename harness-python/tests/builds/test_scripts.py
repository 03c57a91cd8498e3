"""The installed scripts hitmap-clang and hitmap-clang++: they start where an entry point would not."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from test_package import with_backend

from hitmap.build import elf

SCRIPTS = Path(sys.executable).parent


@pytest.mark.parametrize("script", ["hitmap-clang", "hitmap-clang++"])
def test_pip_builds_with_the_wrappers_in_its_isolation(tmp_path, script):
    project = with_backend(tmp_path / "project", "hm_isolated", compiler=repr([str(SCRIPTS / script), "-x", "c"])[1:-1])
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-cache-dir", "--no-deps", "-w", tmp_path, project],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(tmp_path / "hm_isolated-1-py3-none-any.whl") as wheel:
        (library,) = [name for name in wheel.namelist() if name.endswith(".so")]
        assert elf.read(wheel.read(library)).instrumented


def test_the_scripts_do_not_load_the_native_half():
    done = subprocess.run([sys.executable, "-v", SCRIPTS / "hitmap-clang", "--version"], capture_output=True, text=True)
    assert "clang version" in done.stdout and "build/wrapper" in done.stderr and "_native" not in done.stderr


def test_a_python_without_hitmap_says_so():
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-E", "-S", SCRIPTS / "hitmap-clang", "--version"], env=plain, capture_output=True,
                          text=True)
    assert done.returncode == 4 and done.stderr.count("\n") == 1 and "pip install hitmap" in done.stderr
