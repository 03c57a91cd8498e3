"""The CMake package: a project as memcov's users write it, and the examples."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
import pytest
from programs import RUNTIME, run

from hitmap.build import toolchain
from hitmap.compat import memcov

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
CONFIG = f"-Dhitmap_DIR={memcov.cmake_dir()}"

SOURCE = """\
#include <pybind11/pybind11.h>
static int size(int n) {
  if (n > 100) return 3;
  return n > 10 ? 2 : 1;
}
PYBIND11_MODULE(tiny, m) { m.def("size", &size); }
"""

# Where memcov comes from is the one thing that changes; the rest is how its users' projects use it.
PROJECT = """\
cmake_minimum_required(VERSION 3.18)
if(POLICY CMP0169)
    cmake_policy(SET CMP0169 OLD)
endif()
project(tiny LANGUAGES CXX)
include(FetchContent)
FetchContent_Declare(
    memcov
    SOURCE_DIR {folder}
    GIT_TAG origin/bitmap
)
FetchContent_GetProperties(memcov)
if(NOT memcov_POPULATED)
    FetchContent_Populate(memcov)
    add_subdirectory(${{memcov_SOURCE_DIR}} ${{memcov_BINARY_DIR}})
endif()
find_package(pybind11 REQUIRED)
pybind11_add_module(tiny NO_EXTRAS tiny.cpp)
set_source_files_properties(${{CMAKE_CURRENT_SOURCE_DIR}}/tiny.cpp
    PROPERTIES COMPILE_OPTIONS -fsanitize-coverage=edge,trace-pc-guard)
target_link_libraries(tiny PRIVATE memcov)
install(TARGETS tiny DESTINATION .)
"""

# As FetchContent has it from a git repository, without the download: the whole tree, and the folder in it.
CHECKOUT = """\
cmake_minimum_required(VERSION 3.18)
project(tiny LANGUAGES CXX)
include(FetchContent)
FetchContent_Declare(hitmap SOURCE_DIR {root} SOURCE_SUBDIR runtime/cmake)
FetchContent_MakeAvailable(hitmap)
add_library(tiny SHARED tiny.cpp)
target_link_libraries(tiny PRIVATE hitmap::coverage)
"""

NAMES = 'extern "C" int one() { return 1; }\nextern "C" int two() { return 2; }\n'
FUNCTIONS = """\
cmake_minimum_required(VERSION 3.18)
project(names LANGUAGES CXX)
find_package(hitmap REQUIRED)
add_library(names SHARED names.cpp)
target_link_libraries(names PRIVATE hitmap::functions)
"""

SCRIPT = """\
import sys
sys.modules["hitmap"] = None
import ctypes, tiny
_LIB = ctypes.CDLL(tiny.__file__)
_LIB.mcov_reset()
tiny.size(1)
first = _LIB.mcov_get_now()
tiny.size(1)
assert _LIB.mcov_get_now() == first > 0
tiny.size(50), tiny.size(500)
assert first < _LIB.mcov_get_now() <= _LIB.mcov_get_total()
print("done")
"""


def runs(folder, script=SCRIPT):
    """The module in the folder runs the script without hitmap and without a search path for libraries."""
    environment = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "HITMAP_MAP")}
    done = run(sys.executable, "-c", script, env={**environment, "PYTHONPATH": str(folder)}, timeout=60)
    return (done.stdout, done.stderr) == ("done\n", "")


def test_a_pybind11_project_takes_memcov_from_hitmap(cmake, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(folder=memcov.cmake_dir()))
    (tmp_path / "tiny.cpp").write_text(SOURCE)
    installed = tmp_path / "installed"
    built = cmake(tmp_path, "-DPYBIND11_FINDPYTHON=ON", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
                  "-DCMAKE_BUILD_TYPE=", install=installed)
    assert runs(built) and in_line(next(built.glob("tiny*.so")))
    assert runs(installed), "the run path survives the installation"


def in_line(library):
    """Whether its edges are counted without a call."""
    code = run("objdump", "-d", library).stdout
    return "hitmap_first_touch" in code + run("nm", library).stdout and not re.search(r"call.*<__sanitizer_cov_trace_pc_guard@plt>", code)


# What links memcov may be of either language, a library or a program, and be made of other libraries.
SHAPES = {
    "C": """\
project(it LANGUAGES C)
find_package(hitmap REQUIRED)
add_library(it SHARED it.c)
target_link_libraries(it PRIVATE memcov)
target_compile_options(it PRIVATE -fsanitize-coverage=edge,trace-pc-guard)
""",
    "C++, with addresses": """\
project(it LANGUAGES CXX)
find_package(hitmap REQUIRED)
set_source_files_properties(it.c PROPERTIES LANGUAGE CXX)
add_library(it SHARED it.c)
target_link_libraries(it PRIVATE memcov)
target_compile_options(it PRIVATE -fsanitize-coverage=edge,trace-pc-guard,pc-table)
""",
    "both, over objects and a static library": """\
project(it LANGUAGES C CXX)
find_package(hitmap REQUIRED)
file(WRITE ${CMAKE_BINARY_DIR}/more.cpp "int more(int n) { return n ? 1 : 2; }")
add_library(objects OBJECT it.c)
set_target_properties(objects PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_link_libraries(objects PUBLIC memcov)
target_compile_options(objects PRIVATE -fsanitize-coverage=edge,trace-pc-guard)
add_library(kept STATIC ${CMAKE_BINARY_DIR}/more.cpp)
target_link_libraries(kept PUBLIC memcov)
set_target_properties(kept PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_compile_options(kept PRIVATE -fsanitize-coverage=edge,trace-pc-guard)
add_library(it SHARED $<TARGET_OBJECTS:objects>)
target_link_libraries(it PRIVATE kept memcov)
""",
    "hitmap::functions": """\
project(it LANGUAGES C)
find_package(hitmap REQUIRED)
add_library(it SHARED it.c)
target_link_libraries(it PRIVATE hitmap::functions)
""",
    "hitmap::coverage": """\
project(it LANGUAGES C)
find_package(hitmap REQUIRED)
add_library(it SHARED it.c)
target_link_libraries(it PRIVATE hitmap::coverage)
""",
}
COUNTS = """\
import ctypes
lib = ctypes.CDLL({path!r})
lib.mcov_reset()
lib.it(1); first = lib.mcov_get_now()
lib.it(1); again = lib.mcov_get_now()
lib.it(9); lib.other()
print(0 < first == again < lib.mcov_get_now() <= lib.mcov_get_total())
"""


@pytest.mark.parametrize("shape", SHAPES)
def test_what_links_memcov_counts_in_line(cmake, tmp_path, shape):
    (tmp_path / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.18)\n" + SHAPES[shape])
    (tmp_path / "it.c").write_text("#ifdef __cplusplus\nextern \"C\" {\n#endif\nint it(int n) { return n > 3 ? 1 : 2; }\n"
                                   "int other(void) { return 3; }\n#ifdef __cplusplus\n}\n#endif\n")
    c_compiler = toolchain.find()
    library = cmake(tmp_path, CONFIG, f"-DCMAKE_C_COMPILER={c_compiler}") / "libit.so"
    assert in_line(library)
    assert run(sys.executable, "-c", COUNTS.format(path=str(library))).stdout == "True\n"


def test_a_checkout_builds_its_own_runtime(cmake, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(CHECKOUT.format(root=ROOT))
    (tmp_path / "tiny.cpp").write_text('extern "C" int hits() { return 7; }\n')
    others = [place for place in os.environ["PATH"].split(os.pathsep) if not same(place, Path(sys.executable).parent)]
    built = cmake(tmp_path, "-DPython_EXECUTABLE=", path=os.pathsep.join(others))
    assert str(built / "hitmap-cargo") in run("ldd", built / "libtiny.so").stdout
    script = f"import ctypes; lib = ctypes.CDLL({str(built / 'libtiny.so')!r}); lib.hits(); print(lib.mcov_get_now(), lib.mcov_get_total())"
    assert run(sys.executable, "-c", script).stdout == "1 1\n"


def test_without_a_runtime_and_without_rust_the_remedy_is_told(cmake, tmp_path):
    # As a script, because a whole configuration would first miss a compiler.
    shutil.copytree(ROOT / "runtime" / "cmake", tmp_path / "runtime" / "cmake")
    done = subprocess.run([cmake.program, "-DCMAKE_SYSTEM_NAME=Linux", "-P", tmp_path / "runtime" / "cmake" / "targets.cmake"],
                          env={"PATH": str(tmp_path), "HOME": str(tmp_path)}, capture_output=True, text=True)
    told = " ".join(done.stderr.split())
    assert done.returncode != 0 and "pip install hitmap, or install Rust, or set HITMAP_RUNTIME to the file" in told


def same(place, other):
    return os.path.realpath(place) == os.path.realpath(other)


def test_a_runtime_can_be_named(cmake, tmp_path):
    copy = tmp_path / "elsewhere" / RUNTIME.name
    copy.parent.mkdir()
    copy.write_bytes(RUNTIME.read_bytes())
    built = cmake(EXAMPLES / "memcov-multiprocessing", CONFIG, f"-DHITMAP_RUNTIME={copy}")
    needed = run("ldd", built / "libmodel.so").stdout
    assert str(copy) in needed


def test_functions_are_recorded_live_for_llvm_covmaps_readers(cmake, tmp_path):
    # The ids hang on the names: another function before them, and another build, change nothing.
    seen = []
    for before in ("", "int earlier(int n) { return n > 3 ? n : 3; }\n"):
        source = tmp_path / f"source{len(seen)}"
        source.mkdir()
        (source / "CMakeLists.txt").write_text(FUNCTIONS)
        (source / "names.cpp").write_text(before + NAMES)
        library = cmake(source, CONFIG) / "libnames.so"
        name = f"/hitmap-cmake-{os.getpid()}-{len(seen)}"
        script = (f"import ctypes; lib = ctypes.CDLL({str(library)!r}); lib.two(); "
                  f"print(open('/dev/shm{name}', 'rb').read().hex())")
        done = run(sys.executable, "-c", script,
                   env={**os.environ, "LLVM_COVMAP_SHM_NAME": name, "LLVM_COVMAP_SHM_SIZE": "1024"})
        assert done.stderr == "" and not os.path.exists(f"/dev/shm{name}")
        seen.append(bytes.fromhex(done.stdout))
    assert seen[0] == seen[1] and sum(byte.bit_count() for byte in seen[0]) == 1


def test_the_cpp_example_tells_what_is_new(cmake):
    built = cmake(EXAMPLES / "cpp-coverage", CONFIG)
    printed = run(built / "measure", "1+2", "3+4", "2*(3+4)", "2*(3").stdout.splitlines()
    edges = [tuple(map(int, re.findall(r"\d+", line)[:2])) for line in printed[:4]]
    (first, first_new), (second, second_new), (third, third_new), (_, fourth_new) = edges
    assert first == first_new == second > 0 and second_new == 0
    assert third > third_new > 0 and fourth_new > 0
    assert [line.rpartition("= ")[2] for line in printed[:4]] == ["3", "7", "14", "a parenthesis is not closed"]
    hits, total = map(int, re.match(r"(\d+) of (\d+) edges in .*libcalculator.so; not covered:", printed[4]).groups())
    assert hits == first_new + third_new + fourth_new < total
    assert len(printed[4].rpartition(":")[2].split()) == total - hits and len(printed) == 5


def test_the_cpp_example_surveys_children_that_die_and_carries_coverage_over(cmake, tmp_path):
    built, saved = cmake(EXAMPLES / "cpp-coverage", CONFIG), tmp_path / "saved"

    def survey(*expressions):
        *lines, last = run(built / "survey", saved, *expressions).stdout.splitlines()
        own, united, total = map(int, re.match(r"(\d+) in this run, (\d+) with earlier ones, of (\d+) edges", last).groups())
        return [int(line.split()[0]) for line in lines], [line.endswith(", killed") for line in lines], own, united, total

    new, killed, own, united, total = survey("1+2", "2*3", "2*(3", "1+2")
    assert killed == [False, False, True, False] and new[0] > 0 and new[2] > 0, "what a child covered outlives it"
    assert new[3] == 0 and own == united == sum(new) < total
    assert survey("1")[3:] == (united, total), "nothing that was saved is lost"
    after = survey("4-1")
    assert after[2] < after[3] > united
    saved.write_bytes(b"something else")
    refused = subprocess.run([built / "survey", saved, "1"], capture_output=True, text=True)
    assert refused.returncode == 1 and "hitmap says -2" in refused.stderr


def test_the_multiprocessing_example_carries_coverage_over(cmake):
    built = cmake(EXAMPLES / "memcov-multiprocessing", CONFIG)
    folder = EXAMPLES / "memcov-multiprocessing"
    done = subprocess.run([sys.executable, folder / "run.py"], env={**os.environ, "MODEL": str(built / "libmodel.so")},
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = [tuple(map(int, re.findall(r"-?\d+", line))) for line in done.stdout.splitlines()]
    new, so_far = [row[1] for row in rows], [row[2] for row in rows]
    assert new[0] > 0 and new[1] > 0 and new[2] == 0, "the third model is the second again"
    assert rows[4][0] == rows[4][1] == 0 and rows[4][4] == -6, "a child that died sends nothing"
    assert so_far == [sum(new[: i + 1]) for i in range(len(new))] and so_far[-1] <= rows[0][3]
