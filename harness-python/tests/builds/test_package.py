"""`hitmap build` on whole packages, installed into an environment of their own."""

import os

import pytest

from hitmap.build import elf, installer, package, toolchain

C_SOURCE = """\
#include <Python.h>
static PyObject *odd(PyObject *self, PyObject *number) {
  long n = PyLong_AsLong(number);
  if (n & 1) Py_RETURN_TRUE;
  Py_RETURN_FALSE;
}
static PyMethodDef methods[] = {{"odd", odd, METH_O, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "NAME", NULL, -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit_NAME(void) { return PyModule_Create(&module); }
"""

SETUP = """\
from setuptools import setup, Extension
setup(name="NAME", version="1", ext_modules=[Extension("NAME", ["NAME.c"], extra_compile_args=["-std=c++11", "-Werror"],
      extra_link_args=["-Wl,--strip-all"])])
"""

# A build system without requirements, which no network is needed for. It compiles with COMPILER.
BACKEND = '''\
import os, subprocess, sysconfig, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    library = "NAME" + sysconfig.get_config_var("EXT_SUFFIX")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-I", sysconfig.get_paths()["include"], "NAME.c", "-o", library], check=True)
    with zipfile.ZipFile(os.path.join(folder, "NAME-1-py3-none-any.whl"), "w") as wheel:
        wheel.write(library)
        wheel.writestr("NAME-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: NAME\\nVersion: 1\\n")
        wheel.writestr("NAME-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: false\\nTag: py3-none-any\\n")
        wheel.writestr("NAME-1.dist-info/RECORD", "")
    return "NAME-1-py3-none-any.whl"
'''
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "NAME"\nversion = "1"\n'


def tree(folder, name, **files):
    folder.mkdir()
    for file, text in files.items():
        file = {"setup": "setup.py", "pyproject": "pyproject.toml", "source": f"{name}.c"}.get(file, f"{file}.py")
        (folder / file).write_text(text.replace("NAME", name))
    return folder


def with_backend(folder, name, compiler='os.environ["CC"]', source=C_SOURCE):
    return tree(folder, name, source=source, pyproject=PYPROJECT, backend=BACKEND.replace("COMPILER", compiler))


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_setuptools_extension_is_built_installed_and_works_alone(tmp_path, environment):
    project = tree(tmp_path / "project", "hm_tiny", setup=SETUP, source=C_SOURCE)
    (project / "build" / "temp.old").mkdir(parents=True)
    (project / "build" / "temp.old" / "hm_tiny.o").write_text("an old object that must not be linked")
    before = files(project)
    code, output, messages = environment.build(project)
    assert code == 0, messages
    assert "edges" in output and "hm_tiny" in output
    path = output.split()[-1]
    built = elf.read(open(path, "rb").read())
    assert built.instrumented and f"{built.edges:,} edges" in output
    assert b".symtab" in open(path, "rb").read()
    assert environment.ask("import hm_tiny; print(hm_tiny.odd(3), hm_tiny.__file__)") == f"True {path}"
    assert files(project) == before


def test_a_guard_build_counts_its_edges(tmp_path, environment):
    code, output, messages = environment.build("--guard", with_backend(tmp_path / "project", "hm_guard"))
    assert code == 0, messages
    built = elf.read(open(output.split()[-1], "rb").read())
    assert built.instrumented and set(built.coverage) == {"__sancov_guards", "__sancov_pcs"}
    assert environment.ask("import hm_guard; print(hm_guard.odd(2))") == "False"


def test_a_build_that_ignores_CC_is_refused_and_not_installed(tmp_path, environment):
    project = with_backend(tmp_path / "project", "hm_ignores", compiler=repr(toolchain.find()))
    code, output, messages = environment.build(project)
    assert (code, output) == (4, "")
    assert "nothing was installed" in messages and "never called hitmap's compiler" in messages
    assert environment.ask("import importlib.util; print(importlib.util.find_spec('hm_ignores'))") == "None"


def test_a_pure_python_package_is_refused(tmp_path, environment):
    project = tree(tmp_path / "project", "hm_pure", setup='from setuptools import setup; setup(name="NAME", py_modules=[])')
    code, _, messages = environment.build(project)
    assert code == 4 and "pure Python" in messages


def test_a_failed_build_shows_its_last_lines_and_what_to_do(tmp_path, environment):
    project = with_backend(tmp_path / "project", "hm_broken", source='#include "not_there.h"\n')
    code, output, messages = environment.build(project)
    assert (code, output) == (4, "")
    assert "'not_there.h' file not found" in messages and "development package" in messages


def test_kept_files_are_there_and_an_old_folder_is_not_reused(tmp_path, environment):
    project = with_backend(tmp_path / "project", "hm_kept")
    assert environment.build("--keep", tmp_path / "kept", project)[0] == 0
    assert (tmp_path / "kept" / "project" / "hm_kept.c").exists()
    code, _, messages = environment.build("--keep", tmp_path / "kept", project)
    assert code == 4 and "not empty" in messages


@pytest.mark.parametrize("words, message", [
    (["./nowhere"], "does not exist"),
    (["."], "holds no Python package"),
    (["=="], "neither a package nor a path"),
    ([], "required"),
    (["--guards", "x", "--frob"], "unrecognized"),
])
def test_wrong_usage_ends_with_4_and_says_why(tmp_path, environment, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, output, messages = environment.build(*words)
    assert (code, output) == (4, "") and message in messages


def test_the_flags_are_printed(environment):
    assert "=edge,trace-pc-guard,pc-table " in environment.build("flags", "--compile", "--guard")[1]
    assert "isolate.ld" in environment.build("flags", "--link")[1]


@pytest.mark.parametrize("what, path", [
    ("ujson", False), ("ujson==1", False), ("a @ git+https://h/x", False), ("./ujson", True), ("a/b", True), (".", True),
    ("~/x", True), ("x-1.tar.gz", True), ("/x", True),
])
def test_a_path_is_told_from_a_package(what, path):
    assert package.is_path(what) == path


@pytest.mark.parametrize("output, remedy", [
    ("fatal error: 'Python.h' file not found", "python3-dev"),
    ("a.c:1:10: fatal error: 'zlib.h' file not found", "development package"),
    ("/usr/bin/ld: cannot find -lz: No such file", "library is missing"),
    ("CMake 3.30 or higher is required.  You are running version 3.25", "pip install cmake"),
    ("error: externally-managed-environment", "virtual environment"),
    ("ERROR: No matching distribution found for x", "no source for it"),
    ("clang: error: unknown argument: '-fweird'", "does not know"),
])
def test_a_failure_is_explained(output, remedy):
    assert remedy in installer.remedy(output)


@pytest.mark.parametrize("name", ["libc.so.6", "libstdc++.so.6", "ld-linux-x86-64.so.2", "libpython3.11.so.1.0"])
def test_the_systems_own_libraries_are_not_worth_a_word(name):
    assert package.BASE.match(name)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 100, b"MZ" * 50])
def test_a_broken_library_is_not_read(data):
    assert elf.read(data) is None
