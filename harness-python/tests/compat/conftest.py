"""A small extension that is built as memcov's users build, and scripts that use it without hitmap."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
from programs import RUNTIME, run

from hitmap.build import toolchain

RECIPES = Path(__file__).parent / "recipes"

# Sixteen steps of one edge each, so every number below is exact, and the total is a multiple of eight. The entries are
# not instrumented.
STEPS = 16
SOURCE = """\
#include <Python.h>
#define PLAIN __attribute__((no_sanitize("coverage")))
static volatile int sink;
FUNCTIONS
static void (*const steps[])(void) = {TABLE};
PLAIN static PyObject *step(PyObject *self, PyObject *number) {
  steps[PyLong_AsLong(number) % STEPS]();
  Py_RETURN_NONE;
}
static PyMethodDef methods[] = {{"step", step, METH_O, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "steps", NULL, -1, methods, NULL, NULL, NULL, NULL};
PLAIN PyMODINIT_FUNC PyInit_steps(void) { return PyModule_Create(&module); }
"""


@pytest.fixture(scope="session")
def extension(tmp_path_factory):
    """The folder of `steps`, an extension with memcov's flags that needs the runtime."""
    folder = tmp_path_factory.mktemp("extension")
    text = SOURCE.replace("FUNCTIONS", "\n".join(f"static void f{i}(void) {{ sink = {i}; }}" for i in range(STEPS)))
    text = text.replace("TABLE", ", ".join(f"f{i}" for i in range(STEPS))).replace("STEPS", str(STEPS))
    (folder / "steps.c").write_text(text)
    run(toolchain.find(), "-O1", "-shared", "-fPIC", "-fsanitize-coverage=edge,trace-pc-guard",
        f"-I{sysconfig.get_path('include')}", folder / "steps.c", "-o", folder / "steps.so",
        "-Wl,--no-as-needed", RUNTIME, f"-Wl,-rpath,{RUNTIME.parent}")
    return folder


@pytest.fixture
def script(extension, tmp_path):
    """Runs a script beside the recipes, in a Python that cannot import hitmap; returns what it printed."""

    def start(text):
        path = tmp_path / "script.py"
        path.write_text(f"import sys\nsys.modules['hitmap'] = None\n{text}")
        places = os.pathsep.join([str(extension), str(RECIPES)])
        environment = {k: v for k, v in os.environ.items() if k != "HITMAP_MAP"}
        done = run(sys.executable, path, cwd=tmp_path, env={**environment, "PYTHONPATH": places}, timeout=60)
        assert done.stderr == ""
        return done.stdout

    return start


@pytest.fixture(scope="session")
def cmake(tmp_path_factory):
    """Configures and builds a CMake project with clang; returns the build folder. CMake comes from the system, or else
    from PyPI."""
    beside = Path(sys.executable).with_name("cmake")
    found = str(beside) if beside.exists() else shutil.which("cmake")
    environment = dict(os.environ)
    if found is None:
        folder = tmp_path_factory.mktemp("cmake")
        run(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "cmake")
        found = str(folder / "bin" / "cmake")
        environment["PYTHONPATH"] = str(folder)
    clang = toolchain.find()
    cxx = clang.replace("clang", "clang++") if os.path.basename(clang).startswith("clang-") else clang + "++"

    def build(source, *options, install=None, path=None):
        folder = tmp_path_factory.mktemp("build")
        environment["PATH"] = path or os.environ["PATH"]
        configured = run(found, "-S", source, "-B", folder, "--no-warn-unused-cli", f"-DCMAKE_CXX_COMPILER={cxx}",
                         "-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}", *options,
                         env=environment)
        assert "GCC cannot" not in configured.stderr, configured.stderr
        run(found, "--build", folder, env=environment)
        if install is not None:
            run(found, "--install", folder, "--prefix", install, env=environment)
        return folder

    build.program = found
    return build
