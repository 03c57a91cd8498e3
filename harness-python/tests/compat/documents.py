"""memcov's own documents, every block of them, run from the files: `make test-documents DOCUMENTS=FOLDER`.

The documents have no licence, so nothing of them is kept here, and `make test` has the same recipes in words of its own
(`test_memcov.py`, `test_recipes.py`, `test_cmake.py`). FOLDER holds copies of them as text: of memcov's master or its
fork for multiprocessing, and of the branch `bitmap`. `recipes/document.py` has the edits that are made to the Python
code; to the CMake code there is one: where memcov comes from.
"""

import os
import re
import sys
from pathlib import Path

import pybind11
import pytest
from programs import run
from recipes.document import blocks
from test_cmake import SCRIPT, SOURCE, runs

from hitmap.compat import memcov

RECIPES = Path(__file__).parent / "recipes"
FILES = sorted(Path(os.environ["DOCUMENTS"]).iterdir())
FOUND = {file: blocks(file.read_text()) for file in FILES}
BLOCKS = [(language, code, f"{file.stem}-{at}") for file, found in FOUND.items() for at, (language, code) in enumerate(found)]

PROJECT = """\
cmake_minimum_required(VERSION 3.18)
if(POLICY CMP0169)
    cmake_policy(SET CMP0169 OLD)
endif()
project(example LANGUAGES CXX)
find_package(pybind11 REQUIRED)
pybind11_add_module(YOUR_TARGET NO_EXTRAS path/to/what.cpp)
{block}
if(USE_COV)
    target_compile_options(YOUR_TARGET PRIVATE -fsanitize-coverage=trace-pc-guard)
    target_link_libraries(YOUR_TARGET PRIVATE ${{TVM_LINKER_LIBS}})
endif()
"""


def of(kind):
    chosen = [pytest.param(code, id=name) for language, code, name in BLOCKS if language == kind]
    return pytest.mark.parametrize("block", chosen)


def test_every_block_is_run():
    assert BLOCKS and {language for language, _, _ in BLOCKS} <= {"cmake", "python", ""}
    # Without a language: llvm-covmap's formula.
    assert all("%" in code for language, code, _ in BLOCKS if language == "")


@pytest.mark.parametrize("file", [pytest.param(f, id=f.stem) for f in FILES if any(kind == "python" for kind, _ in FOUND[f])])
def test_the_python_of_a_document_runs_on_the_librarys_own_handle(extension, tmp_path, file):
    environment = {**os.environ, "PYTHONPATH": str(extension)}
    environment.pop("HITMAP_MAP", None)
    done = run(sys.executable, RECIPES / "document.py", file, cwd=tmp_path, env=environment, timeout=60)
    assert done.stderr == ""
    # A binding brings two recipes in quotes.
    ran = done.stdout.splitlines()[-1].split()[1:]
    assert len([what for what in ran if what not in ("save", "load")]) == sum(kind == "python" for kind, _ in FOUND[file])


@of("cmake")
def test_the_cmake_of_a_document_builds_a_module_that_counts(cmake, tmp_path, block):
    for pattern, ours in ((r"GIT_REPOSITORY .*", f"SOURCE_DIR {memcov.cmake_dir()}"),
                          (r'set\(memcov_SOURCE_DIR ".*"\)', f'set(memcov_SOURCE_DIR "{memcov.cmake_dir()}")')):
        block, changed = re.subn(pattern, lambda _, ours=ours: ours, block)
        if changed:
            break
    assert changed == 1
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(block=block))
    (tmp_path / "path" / "to").mkdir(parents=True)
    (tmp_path / "path" / "to" / "what.cpp").write_text(SOURCE.replace("tiny", "YOUR_TARGET"))
    options = ["-DUSE_COV=ON"] if "USE_COV" in block else []
    built = cmake(tmp_path, "-DPYBIND11_FINDPYTHON=ON", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
                  "-DCMAKE_BUILD_TYPE=", *options)
    assert runs(built, SCRIPT.replace("tiny", "YOUR_TARGET"))
