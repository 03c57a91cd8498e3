"""The library of this folder, built in every way in which users meet one.

A target is a **binding** (how Python reaches the library) built in a **way** (what the file still says of itself, and
how it runs). All are made of the same sources with hitmap's own compiler wrapper; objects are compiled once and shared,
on all cores. Each target has a folder of its own with its module and its harness.
"""

import ctypes.util
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from hitmap.build import toolchain

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
INCLUDE = sysconfig.get_paths()["include"]

# Sources of the library, and those of them that need Python. Where -fstack-protector would hide what the C library says,
# it is off.
LIBRARY = ["signals", "throws", "ends", "recursion", "hangs", "memory", "sanitized", "library"]
PYTHON = ["python", "state"]
BINDINGS = ("capi", "pybind", "nano", "cythonized", "boosted", "ctypes")

WAYS = {
    "lines": "built with -g",
    "tables": "built with -gline-tables-only",
    "bare": "without debug information: built with -g, then strip --strip-debug",
    "stripped": "without names: strip --strip-all",
    "plain": "not instrumented: built by g++ (clang++ where there is none), with -g",
    "thread": "as `lines`, but the library runs in a std::thread",
    "native": "as `lines`, as the extension `_native` of a package",
    "handler": "as `lines`, and the library took SIGSEGV, SIGFPE and SIGABRT when it was imported",
    "asan": "with AddressSanitizer",
    "ubsan": "with UndefinedBehaviorSanitizer",
    "python": "as `lines`, below mistakes in Python code",
}
# Whose functions have names.
NAMED = tuple(way for way in WAYS if way != "stripped")

HARNESS = """\
import hitmap

{imports}

{begins}
@hitmap.harness
def run(data):
{first}    if data.split(b" ")[2:3] == [b"1"]:
        {call}
    else:
        {call}
"""
PYTHON_HARNESS = """\
import inspect

import capi
import hitmap

import python_side


def call(name, value):
    function = getattr(python_side, name)
    function(*([value, capi] if "native" in inspect.signature(function).parameters else [value]))


@hitmap.harness
def run(data):
    words = data.decode("ascii", "replace").split(" ")
    capi.run(b"jumps_back 0 0 0 1")
    if len(words) != 5 or not hasattr(python_side, words[0]) or not words[4].isdecimal():
        return
    name, _, line, _, value = words
    if line == "1":
        call(name, int(value))
    else:
        call(name, int(value))
"""


@dataclass(frozen=True)
class Target:
    """One build."""

    binding: str
    way: str

    def __str__(self) -> str:
        return f"{self.binding}-{self.way}"

    @property
    def translates(self) -> bool:
        """Whether the binding makes Python's exceptions of C++'s, on this way."""
        return self.binding not in ("capi", "ctypes") and self.way != "thread"

    @property
    def named(self) -> bool:
        return self.way in NAMED

    @property
    def missing(self) -> str | None:
        """What this machine lacks to build it."""
        if self.binding == "boosted":
            name = f"boost_python{sys.version_info.major}{sys.version_info.minor}"
            if not ctypes.util.find_library(name):
                return f"no lib{name}; install libboost-python-dev, and run the tests with the Python it is built for"
        module = {"nano": "nanobind", "cythonized": "Cython"}.get(self.binding)
        if module and not importlib.util.find_spec(module):
            return f"no {module} in {sys.prefix}; install it: pip install -r requirements.txt"
        return None


class Built:
    """Targets below one folder, made from the sources in `sources`, which are compiled by relative paths."""

    def __init__(self, folder: Path, sources: Path = HERE):
        self.folder = folder
        self.sources = sources
        self.failures: dict[Target, Exception] = {}
        self.done: set[Target] = set()

    def all(self, targets: list[Target]) -> None:
        """Builds what is missing: all objects, then all modules."""
        targets = [target for target in targets if target not in self.done and not target.missing]
        objects = {name: None for target in targets for name in self.objects(target)}
        if any(target.way == "plain" for target in targets):
            objects["lines/probe"] = None
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            failed = dict(pool.map(self.tried_object, sorted(objects, key=slowest_first)))
            if failed.get("lines/probe", True) is None and not self.probe.exists():
                run([str(BIN / "hitmap-clang++"), "-shared", str(self.folder / "objects/lines/probe.o"), "-o", str(self.probe)],
                    self.sources)  # fmt: skip
            for target, failure in pool.map(lambda target: self.tried(target, failed), targets):
                if failure:
                    self.failures[target] = failure
        self.done.update(targets)

    def harness(self, target: Target) -> Path:
        """The harness of a target; skips the test where it cannot be built here."""
        if target.missing:
            pytest.skip(target.missing)
        self.all([target])
        if target in self.failures:
            raise self.failures[target]
        return self.at(target) / "harness.py"

    @property
    def probe(self) -> Path:
        return self.folder / f"probe{SUFFIX}"

    def at(self, target: Target) -> Path:
        return self.folder / str(target)

    # ---- objects -------------------------------------------------------------------------------

    def objects(self, target: Target) -> list[str]:
        """`KIND/NAME`, as `object` makes them."""
        kind = target.way if target.way in ("tables", "plain", "asan", "ubsan") else "lines"
        names = LIBRARY if target.binding == "ctypes" else [*LIBRARY, *PYTHON]
        if kind in ("asan", "ubsan"):
            names = ["sanitized", "recursion", "signals", "library"]
        found = [f"{kind}/{name}" for name in names]
        if target.binding != "ctypes":
            # Line tables alone make no other binding; the library's are what matters.
            found.append(f"{kind if kind == 'plain' else 'lines'}/{target.binding}")
        if target.binding == "nano":
            found.append("lines/nb_combined")
        return found

    def tried_object(self, name: str):
        try:
            self.object(name)
        except Exception as failure:
            return name, failure
        return name, None

    def object(self, name: str) -> None:
        kind, _, stem = name.partition("/")
        output = self.folder / "objects" / f"{name}.o"
        if output.exists():
            return
        output.parent.mkdir(parents=True, exist_ok=True)
        flags = ["-O1", "-g", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-w", "-c", f"-I{INCLUDE}"]
        compiler = [str(BIN / "hitmap-clang++")]
        if kind == "plain":
            compiler = plain_compiler()
        if kind == "tables":
            flags.append("-gline-tables-only")
        if kind in ("asan", "ubsan"):
            flags.append(f"--hitmap-variant={kind}")
        flags += ["-Ilibrary", "-isystem", "third"]
        if stem in (*LIBRARY, *PYTHON):
            source = f"library/{stem}.cpp"
            flags.append("-D_GLIBCXX_ASSERTIONS")
            if kind not in ("asan", "ubsan"):
                protector = "-fno-stack-protector" if stem == "ends" else "-fstack-protector-all"
                flags += ["-D_FORTIFY_SOURCE=2", protector]
        elif stem == "nb_combined":
            import nanobind

            root = Path(nanobind.source_dir()).parent
            source = str(root / "src/nb_combined.cpp")
            # It is large, and what it does is not looked at.
            flags += ["-O0", "-g1", f"-I{root}/include", f"-I{root}/ext/robin_map/include"]
        else:
            source = f"bindings/{stem}.cpp"
            if stem == "pybind":
                import pybind11

                flags.append(f"-I{pybind11.get_include()}")
            elif stem == "nano":
                import nanobind

                flags.append(f"-I{nanobind.include_dir()}")
            elif stem == "cythonized":
                source = str(output.with_suffix(".cpp"))
                cython = [sys.executable, "-m", "cython", "--cplus", "-3"]
                run([*cython, "bindings/cythonized.pyx", "-o", source], self.sources)
        run([*compiler, *flags, source, "-o", str(output)], self.sources)

    # ---- modules -------------------------------------------------------------------------------

    def tried(self, target: Target, failed: dict[str, Exception | None]):
        try:
            for name in self.objects(target):
                if failed[name]:
                    raise failed[name]
            self.one(target)
        except Exception as failure:
            return target, failure
        return target, None

    def one(self, target: Target) -> None:
        folder = self.at(target)
        if (folder / "harness.py").exists():
            return
        module = folder / self.file(target)
        module.parent.mkdir(parents=True, exist_ok=True)
        flags = ["-shared", "-g"]
        compiler = plain_compiler() if target.way == "plain" else [str(BIN / "hitmap-clang++")]
        if target.way in ("asan", "ubsan"):
            flags.append(f"--hitmap-variant={target.way}")
        if target.binding == "boosted":
            flags.append(f"-lboost_python{sys.version_info.major}{sys.version_info.minor}")
        objects = [str(self.folder / "objects" / f"{name}.o") for name in self.objects(target)]
        run([*compiler, *flags, *objects, "-o", str(module)], self.sources)
        if target.way in ("bare", "stripped"):
            run(["strip", "--strip-debug" if target.way == "bare" else "--strip-all", str(module)], self.sources)
        if target.way in ("asan", "ubsan"):
            self.beside(target, module)
        if target.way == "plain":
            shutil.copy(self.probe, folder)
        if target.way == "python":
            shutil.copy(self.sources / "bindings/python_side.py", folder)
        (folder / "harness.py").write_text(self.harness_text(target, module))

    def file(self, target: Target) -> str:
        if target.binding == "ctypes":
            return "_native.so" if target.way == "native" else "libplain.so"
        if target.way == "native":
            return f"package/_native{SUFFIX}"
        return f"{target.binding}{SUFFIX}"

    def beside(self, target: Target, module: Path) -> None:
        """Where `--asan` and `--ubsan` look; the ordinary place has an ordinary build."""
        folder = module.parent / ".hitmap" / target.way
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(module, folder / module.name)
        name = "asan" if target.way == "asan" else "ubsan_standalone"
        (folder / "preload").write_text(toolchain.sanitizer_library(toolchain.find(), name) + "\n")

    def harness_text(self, target: Target, module: Path) -> str:
        if target.way == "python":
            return PYTHON_HARNESS
        name = "run_in_thread" if target.way == "thread" else "run"
        begins = first = ""
        if target.binding == "ctypes":
            function = f"library_{name}"
            imports = f"import ctypes\n\nLIBRARY = ctypes.CDLL({str(module)!r})"
            begins = f"LIBRARY.{function}.argtypes = [ctypes.c_char_p, ctypes.c_size_t]\n"
            call = f"LIBRARY.{function}(data, len(data))"
        else:
            imports = f"import {target.binding} as target"
            if target.way == "native":
                imports = "from package import _native as target"
            call = f"target.{name}(data)"
        if target.way == "plain":
            imports += "\nimport probe"
            first = "    probe.touch(data)\n"
        if target.way == "handler":
            begins += 'target.run(b"take_signals 0 0 0 0")\n'
        if target.way == "native" and target.binding != "ctypes":
            (module.parent / "__init__.py").write_text("")
        return HARNESS.format(imports=imports, begins=begins + "\n", first=first, call=call)


def slowest_first(name: str):
    order = ["nb_combined", "boosted", "pybind", "cythonized", "throws", "nano", "signals"]
    stem = name.partition("/")[2]
    return (order.index(stem) if stem in order else len(order), name)


def plain_compiler() -> list[str]:
    if gxx := shutil.which("g++"):
        return [gxx]
    return [toolchain.find(), "--driver-mode=g++"]


def run(command: list[str], cwd: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
