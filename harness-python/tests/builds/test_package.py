"""`hitmap build` on whole packages, installed into an environment of their own."""

import os
import signal
import time

import pytest

from hitmap.build import elf, package, toolchain

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


# As setuptools does where an extension is optional, and as many a setup.py does by itself: the wheel goes without it.
OPTIONAL = BACKEND.replace("    subprocess.run(", "    done = subprocess.run(").replace(", check=True)", ")").replace(
    "wheel.write(library)", "done.returncode == 0 and wheel.write(library)")


@pytest.mark.parametrize("source, says", [
    ('#include "longintrepr.h"\n', ["hm_optional.c does not compile", "'longintrepr.h' file not found", "older Python"]),
    ("int f(void) { return missing; }\n", ["does not compile", "undeclared identifier 'missing'"]),
    ("#include <assert.h>\nint f(int n) { assert(n > least); return n; }\n", ["does not compile", "'least'", "--no-asserts"]),
    ("#ifndef NDEBUG\nint f(void) { return only_here; }\n#endif\n", ["does not compile", "'only_here'", "--no-asserts"]),
    ("int absent(int); int f(int n) { return absent(n); }\n", ["compiled 1 file", "no library", "absent"]),
])
def test_an_optional_part_that_does_not_compile_is_not_called_pure_python(tmp_path, environment, source, says):
    project = tree(tmp_path / "project", "hm_optional", source=source, pyproject=PYPROJECT,
                   backend=OPTIONAL.replace("COMPILER", 'os.environ["CC"], "-DNDEBUG", "-Wl,--no-undefined"'))
    code, output, messages = environment.build(project)
    assert (code, output) == (4, "") and "pure Python" not in messages, messages
    for text in ["nothing was installed", *says]:
        assert text in messages, messages


def test_a_part_that_was_left_out_is_told_where_others_came_out(tmp_path, environment):
    project = with_backend(tmp_path / "project", "hm_part")
    (project / "part.c").write_text("int part = nothing;\n")
    edit(project, "    with zip", '    subprocess.run([os.environ["CC"], "-c", "part.c"])\n    with zip')
    code, output, messages = environment.build(project)
    assert code == 0 and "part.c does not compile, and the package went on without" in messages and "'nothing'" in messages, messages


def edit(project, old, new):
    backend = (project / "backend.py").read_text()
    assert old in backend
    (project / "backend.py").write_text(backend.replace(old, new, 1))


def test_sources_that_nobody_compiles_are_named(tmp_path, environment):
    project = with_backend(tmp_path / "project", "hm_unasked")
    edit(project, "    subprocess.run(", "    0 and subprocess.run(")
    edit(project, "wheel.write(library)", "0")
    code, _, messages = environment.build(project)
    assert code == 4 and "1 file in C, C++ or Cython, as hm_unasked.c" in messages, messages


def test_a_library_whose_symbols_are_gone_is_told(tmp_path, environment):
    project = with_backend(tmp_path / "project", "hm_strip")
    edit(project, "    with zip", '    subprocess.run(["/usr/bin/strip", library])\n    with zip')
    code, output, messages = environment.build(project)
    assert code == 0 and "took the symbols away" in messages, messages


def test_asserts_that_do_not_compile_name_the_flag_that_leaves_them_out(tmp_path, environment):
    source = C_SOURCE.replace("  if (n & 1)", "  assert(n < most);\n  if (n & 1)").replace("#include", "#include <assert.h>\n#include", 1)
    project = with_backend(tmp_path / "project", "hm_assert", compiler='os.environ["CC"], "-DNDEBUG"', source=source)
    code, _, messages = environment.build(project)
    assert code == 4 and "undeclared identifier 'most'" in messages and "--no-asserts" in messages, messages
    assert environment.build("--no-asserts", project)[0] == 0


def test_the_log_counts_the_packages_own_files_and_says_what_follows(tmp_path, environment):
    project = with_backend(tmp_path / "project", "hm_counts")
    (project / "conftest.c").write_text("int main(void) { return no; }\n")
    edit(project, "    subprocess", '    subprocess.run([os.environ["CC"], "conftest.c", "-o", "conftest"])\n'
         '    subprocess.run([os.environ["CC"], "-x", "c", "-c", "-"], input=b"wrong")\n    subprocess')
    code, _, messages = environment.build(project, comparisons=True)
    assert code == 0 and "does not compile" not in messages, messages
    assert messages.count("1 file compiled, 1 linked") == 2
    assert messages.count("copying ") == 1 and messages.count("a second build follows, for comparisons") == 1


# What a build may start: it does not hear SIGTERM and has a group of its own, as ninja's compilers do, or a session.
ENDLESS = """\
    subprocess.Popen(["sh", "-c", "trap '' TERM; echo $$ >> PIDS; while :; do sleep 60; done"], preexec_fn=os.setpgrp)
    subprocess.run(["sh", "-c", "echo $$ >> PIDS; exec sleep 600"], start_new_session=True)
    subprocess"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_build_that_is_ended_ends_all_that_it_started(tmp_path, environment, number):
    project, pids = with_backend(tmp_path / "project", "hm_endless"), tmp_path / "pids"
    edit(project, "    subprocess", ENDLESS.replace("PIDS", str(pids)))
    os.mkdir(tmp_path / "temporary")
    process = environment.start("--no-comparisons", project, TMPDIR=str(tmp_path / "temporary"))
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    process.send_signal(number)
    assert process.wait(30) == (-number if number == signal.SIGKILL else 2)
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids.read_text().split()))
    if number != signal.SIGKILL:
        assert os.listdir(tmp_path / "temporary") == []


def wait_until(true):
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until, "in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"])
def test_a_constraint_is_found_from_the_builds_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "constraints.txt")
    environ = package.environment(str(tmp_path / "root"), "log", toolchain.find(), package.Request("x"), package.variants.DEFAULT)
    assert environ[name] == str(tmp_path / "constraints.txt")


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


@pytest.mark.parametrize("name", ["libc.so.6", "libstdc++.so.6", "ld-linux-x86-64.so.2", "libpython3.11.so.1.0"])
def test_the_systems_own_libraries_are_not_worth_a_word(name):
    assert package.BASE.match(name)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 100, b"MZ" * 50])
def test_a_broken_library_is_not_read(data):
    assert elf.read(data) is None
