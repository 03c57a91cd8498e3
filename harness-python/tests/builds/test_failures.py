"""What a failed build is said to have failed for. No compiler and no pip runs here."""

import pytest

from hitmap.build import failures
from hitmap.build.log import Log


@pytest.mark.parametrize("output, remedy", [
    ("fatal error: 'Python.h' file not found", "python3-dev"),
    ("a.c:1:10: fatal error: 'zlib.h' file not found", "the header zlib.h is missing"),
    ("a.c:1:10: fatal error: zlib.h: No such file or directory", "the header zlib.h is missing"),
    ("/usr/bin/ld: cannot find -lz: No such file", "the library z is missing"),
    ("ld.lld: error: unable to find library -lz", "the library z is missing"),
    ("a.o: undefined reference to `check_invariants'", "--no-asserts"),
    ("CMake 3.30 or higher is required.  You are running version 3.25", "install 'cmake>=3.30'"),
    ("  Compatibility with CMake < 3.5 has been removed from CMake.", "CMAKE_POLICY_VERSION_MINIMUM=3.5"),
    ("Could NOT find ZLIB (missing: ZLIB_LIBRARY)", "does not find ZLIB"),
    ("error: externally-managed-environment", "virtual environment"),
    ("ERROR: No matching distribution found for x", "no source for it"),
    ("clang: error: unknown argument: '-fweird'", "does not know"),
    ("clang++: error: unable to execute command: Killed", "fewer jobs"),
    ("OSError: [Errno 28] No space left on device", "TMPDIR"),
    # programs
    ("sh: 1: cmake: not found", "install cmake ninja"),
    ("/bin/bash: line 3: swig: command not found", "install swig"),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'cmake'", "install cmake ninja"),
    ("error: command 'swig' failed: No such file or directory", "install swig"),
    ("../meson.build:3:0: ERROR: Program 'flex' not found or not executable", "apt-get install flex"),
    ('CMake Error: CMake was unable to find a build program corresponding to "Ninja".', "install ninja"),
    ("/bin/sh: 1: cargo: not found", "written in Rust"),
    ("pg_config: command not found", "libpq-dev"),
    # requirements of the build scripts
    ("ModuleNotFoundError: No module named 'pkg_resources'", "setuptools<81"),
    ("ModuleNotFoundError: No module named 'numpy.distutils'", "numpy<2"),
    ("Cython.Compiler.Errors.CompileError: a.pyx", "cython<3"),
    ("ModuleNotFoundError: No module named 'zznone'", "install zznone"),
    ("ModuleNotFoundError: No module named 'pytest'", "do not ask for it: PIP_NO_BUILD_ISOLATION=false"),
    # the network
    ("WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'\nERROR: No matching distribution found for x",
     "the package index cannot be reached"),
    ("curl: (6) Could not resolve host: example.org", "needs the network"),
    ("fatal: unable to access 'https://x/y.git/': Could not resolve host: x", "needs the network"),
    ("urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>", "needs the network"),
    ("wget: unable to resolve host address 'x': Name or service not known", "needs the network"),
    ("  status: [6;\"Could not resolve hostname\"]\n  error: downloading 'https://x/a.zip' failed", "needs the network"),
    ("requests.exceptions.ConnectionError: HTTPSConnectionPool(host='x', port=443): Max retries exceeded", "needs the network"),
    ("socket.gaierror: [Errno -2] getaddrinfo failed", "needs the network"),
    ("ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]", "needs the network"),
    ("curl: (7) Failed to connect to x port 443: Connection refused", "needs the network"),
])
def test_a_failure_is_explained(output, remedy):
    assert remedy in failures.explain(output.splitlines())[1]


@pytest.mark.parametrize("output", [
    "/bin/sh: 1: cmake: not found",
    "Could not find CMake",
    "FileNotFoundError: [Errno 2] No such file or directory: 'cmake'",
])
def test_what_is_installed_is_not_advised_again(output):
    _, remedy = failures.explain([output], present=lambda name: f"/venv/bin/{name}")
    assert "install" not in remedy and "/venv/bin/cmake" in remedy


@pytest.mark.parametrize("version, variable", [("25.3", "PIP_BUILD_CONSTRAINT="), ("25.2", "PIP_CONSTRAINT="), ("26.0", "PIP_BUILD_CONSTRAINT=")])
def test_the_constraint_is_named_that_this_pip_reads(monkeypatch, version, variable):
    monkeypatch.setattr(failures.importlib.metadata, "version", lambda name: version)
    assert variable in failures.remedy(["No module named 'pkg_resources'"])


TRACEBACK = """\
Traceback (most recent call last):
  File "setup.py", line 90, in run
    subprocess.check_call(['make'])
subprocess.CalledProcessError: Command '['make']' returned non-zero exit status 2."""


@pytest.mark.parametrize("output, first", [
    ("cc -c a.c\na.c:3:1: error: unknown type name 'x'\n    3 | x y;\n1 error generated.\nmake: *** [a.o] Error 1\n" + TRACEBACK,
     ["a.c:3:1: error: unknown type name 'x'", "    3 | x y;"]),
    ("conftest.c:1:1: error: no\nCMake Error at CMakeLists.txt:4 (find_package):\n  no\n" + TRACEBACK,
     ["CMake Error at CMakeLists.txt:4 (find_package):", "  no"]),
    ('  File "setup.py", line 3, in <module>\n    import pkg_resources\nModuleNotFoundError: No module named \'pkg_resources\'\nerror: '
     "subprocess-exited-with-error",
     ['  File "setup.py", line 3, in <module>', "    import pkg_resources", "ModuleNotFoundError: No module named 'pkg_resources'"]),
    ("Package 'x', required by 'virtual:world', not found\n./configure: line 4: bison: command not found\n" + TRACEBACK,
     ["./configure: line 4: bison: command not found"]),
    ("../meson.build:9:0: ERROR: Dependency \"z\" not found\nA full log can be found at x", ["../meson.build:9:0: ERROR: Dependency \"z\" not found",
                                                                                      "A full log can be found at x"]),
    ("/usr/bin/ld: a.o: undefined reference to `f'\nclang: error: linker command failed with exit code 1", ["/usr/bin/ld: a.o: undefined "
                                                                                                      "reference to `f'"]),
    ("all is well", []),
])
def test_the_first_error_is_shown_and_not_what_follows_from_it(output, first):
    error = failures.first_error(output.splitlines())
    assert error == first


@pytest.mark.parametrize("lines", [
    ["a.c:4:10: error: use of undeclared identifier 'n'", "    4 |   assert(n > 1);"],
    ["a.c:4:10: error: no member named 'n'", "/usr/include/assert.h:93:10: note: expanded from macro 'assert'"],
    ["a.cc:4:10: error: no", "b.h:3:9: note: expanded from macro 'MY_ASSERT_EQ'"],
])
def test_what_an_assert_does_not_compile_for_names_the_flag(lines):
    assert "--no-asserts" in failures.explain(lines, kept_asserts=True)[1]
    assert "--no-asserts" not in (failures.explain(lines, kept_asserts=False)[1] or "")


def test_what_the_compiler_was_asked_again_goes_first(tmp_path):
    path = tmp_path / "log"
    path.write_text("compile a.c\ncheck conftest.c\nfailed a.c\nerror a.c:1:1: error: no such thing\nasserts a.c\nlink x.so\n")
    log = Log(path).read()
    assert (log.compiled, log.linked, log.checks, log.failed) == (1, 1, 1, ["a.c"])
    lines = ["z.c:9:9: error: a check that may fail", "  a.c:1:1: error: no such thing", "    1 | x", "1 error generated."]
    error, remedy = failures.explain(lines, log)
    assert error == lines[1:3] and "--no-asserts" in remedy
    assert failures.explain(["nothing of it is shown"], log)[0] == ["a.c:1:1: error: no such thing"]
