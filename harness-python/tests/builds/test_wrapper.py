"""The wrapper with a real clang."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from hitmap._native import Module
from hitmap.build import elf, shim, stub, toolchain, variants, wrapper
from hitmap.build.__main__ import main

SOURCE = "int odd(int n) { if (n & 1) return 7; return 3; }\n"
MAIN = SOURCE + "int main(int n, char **v) { (void)v; return odd(n); }\n"


@pytest.fixture
def compilers(tmp_path):
    """Writes the shims with the given options and returns (hitmap-clang, hitmap-clang++)."""
    return lambda *options: shim.write(str(tmp_path / "compilers"), [f"--hitmap-clang={toolchain.find()}", *options])


def run(*words, folder):
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)


def library(path):
    return elf.read(path.read_bytes())


@pytest.mark.parametrize("variant, sections", [
    ("counters", {"__sancov_cntrs", "__sancov_bools", "__sancov_pcs"}),
    ("guard", {"__sancov_guards", "__sancov_pcs"}),
    ("comparisons", {"__sancov_cntrs", "__sancov_bools", "__sancov_pcs"}),
    ("lto", {"__sancov_guards", "__sancov_pcs"}),
    ("func", {"__sancov_cntrs", "__sancov_bools", "__sancov_pcs"}),
    ("guard+func", {"__sancov_guards", "__sancov_pcs"}),
])
def test_a_shared_library_is_instrumented_and_has_no_undefined_symbol(tmp_path, compilers, variant, sections):
    cc, _ = compilers(f"--hitmap-variant={variant}")
    (tmp_path / "a.c").write_text(SOURCE)
    done = run(cc, "-shared", "-Wl,--no-undefined", "a.c", "-o", "a.so", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    built = library(tmp_path / "a.so")
    assert built.instrumented and built.edges >= (1 if "func" in variant else 2) and len(built.build_id) == 40
    assert set(built.coverage) == sections


@pytest.mark.parametrize("variant", [kind.name for kind in variants.KINDS])
@pytest.mark.parametrize("how", [[], ["-static"], ["-no-pie"]])
def test_an_executable_links_and_runs_alone(tmp_path, compilers, variant, how):
    cc, _ = compilers(f"--hitmap-variant={variant}")
    (tmp_path / "a.c").write_text(MAIN)
    assert run(cc, *how, "a.c", "-o", "a", folder=tmp_path).stderr == ""
    assert run("./a", folder=tmp_path).returncode == 7
    assert library(tmp_path / "a").instrumented


def test_an_instrumented_library_loads_alone(tmp_path, compilers):
    _, cxx = compilers()
    (tmp_path / "a.cpp").write_text('#include <string>\nextern "C" int size() { return std::string("abc").size(); }\n')
    assert run(cxx, "-std=c++17", "-shared", "a.cpp", "-o", "a.so", folder=tmp_path).returncode == 0
    code = "import ctypes; print(ctypes.CDLL('./a.so').size())"
    assert run(sys.executable, "-c", code, folder=tmp_path).stdout == "3\n"


@pytest.mark.parametrize("variant", ["counters", "guard"])
def test_the_same_source_in_another_folder_has_the_same_identity(tmp_path, compilers, variant):
    cc, _ = compilers(f"--hitmap-root={tmp_path}", f"--hitmap-variant={variant}")
    identities = set()
    for name in ("pip-wheel-aaaa/lib_1111", "pip-wheel-bb/lib_2222"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "a.c").write_text(SOURCE + "const char *where(void) { return __FILE__; }\n")
        assert run(cc, "-shared", folder / "a.c", "-o", "a.so", folder=folder).returncode == 0
        identities.add(library(folder / "a.so").build_id)
    assert len(identities) == 1


@pytest.mark.parametrize("words", [["-isystem", "{}"], ["-isystem{}"], ["-isystem", "{}/"], ["-idirafter", "{}"], ["-I{}"]])
def test_headers_that_are_somebody_elses_are_marked_in_the_line_table(tmp_path, compilers, words):
    cc, _ = compilers()
    headers = tmp_path / "theirs"
    headers.mkdir()
    (headers / "foreign.h").write_text("static inline int foreign(int *p) { return *p + 1; }\n")
    (tmp_path / "a.c").write_text('#include "foreign.h"\nint f(int *p) { return foreign(p); }\n')
    words = [word.format(headers) for word in words]
    assert run(cc, "-O0", "-shared", *words, "a.c", "-o", "a.so", folder=tmp_path).stderr == ""
    marked = b"theirs/../theirs" in (tmp_path / "a.so").read_bytes()
    assert marked == (not words[0].startswith("-I"))


# Where the compiler is started in a working folder of pip's, and how it is given the source; what the place's file is then.
STARTED = [
    ("pip-wheel-x/lib_1", "a.c", "lib/a.c"),
    ("pip-wheel-x/lib_1", "lib/a.c", "lib/lib/a.c"),
    ("pip-wheel-x/lib_1", "./lib/../a.c", "lib/a.c"),
    ("pip-wheel-x/lib_1", "{root}/pip-wheel-x/lib_1/src/a.c", "lib/src/a.c"),
    ("pip-wheel-x/lib_1", "{root}/pip-wheel-x/lib_1/lib/a.c", "lib/lib/a.c"),
    ("pip-wheel-x/lib_1/build", "../src/a.c", "lib/src/a.c"),
    ("pip-wheel-x/lib_1/build", "{root}/pip-wheel-x/lib_1/src/a.c", "lib/src/a.c"),
    ("pip-wheel-x/lib_1/build/deep", "{root}/pip-wheel-x/lib_1/build/../src/a.c", "lib/src/a.c"),
    ("pip-wheel-x/lib_1/.mesonpy-abc", "../src/a.c", "lib/src/a.c"),
    ("pip-wheel-x/lib_1/.mesonpy-abc", "{root}/pip-wheel-x/lib_1/src/a.c", "lib/src/a.c"),
    ("pip-wheel-x/lib_1/.mesonpy-abc", "made.c", "lib/.mesonpy/made.c"),
    ("lib/build", "{root}/lib/src/a.c", "lib/src/a.c"),
    ("tmpabcdefgh/build", "{root}/lib/src/a.c", "lib/src/a.c"),
    ("tmpabcdefgh/build", "made.c", "tmp/build/made.c"),
]


@pytest.mark.parametrize("folder, source, file", STARTED)
@pytest.mark.parametrize("variant", ["counters", "guard", "lto"])
def test_the_path_of_a_source_does_not_depend_on_where_the_compiler_was_started(tmp_path, compilers, variant, folder, source, file):
    cc, _ = compilers(f"--hitmap-root={tmp_path}", f"--hitmap-variant={variant}")
    here, source = tmp_path / folder, source.format(root=tmp_path)
    for path in (here, (here / source).parent, here / "lib"):
        path.mkdir(parents=True, exist_ok=True)
    (here / source).write_text(SOURCE + "const char *where(void) { return __FILE__; }\n")
    done = run(cc, "-shared", source, "-o", "a.so", folder=here)
    assert (done.returncode, done.stderr) == (0, "")
    module = Module.of_file(here / "a.so", 0)
    assert {module.where(edge).file for edge in range(module.edges)} == {file}
    assert str(tmp_path).encode() not in (here / "a.so").read_bytes()


def test_source_from_standard_input_links(tmp_path, compilers):
    cc, _ = compilers()
    done = subprocess.run([cc, "-x", "c", "-", "-o", "a"], input=MAIN, cwd=tmp_path, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [
    "strip a.so", "strip -x a.so", "strip --strip-all a.so", "strip -R .comment a.so", "llvm-strip -g a.so", "eu-strip a.so",
    "strip -o b.so a.so", "strip -ob.so a.so", "strip -s --output-file=b.so a.so", "llvm-strip --strip-debug -o b.so a.so",
    "objcopy --strip-all a.so", "objcopy -S a.so b.so", "objcopy -g -x a.so b.so", "objcopy --strip-unneeded a.so b.so",
])
def test_a_strip_program_leaves_the_symbols(tmp_path, compilers, words):
    cc, _ = compilers()
    (tmp_path / "a.c").write_text("static int inner(int n) { return n & 1 ? 7 : 3; } int (*odd)(int) = inner;")
    run(cc, "-shared", "a.c", "-o", "a.so", folder=tmp_path)
    name, *rest = words.split()
    done = run(os.path.join(os.path.dirname(cc), name), *rest, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    made = "b.so" if "b.so" in words else "a.so"
    assert library(tmp_path / made).named and b"\0inner\0" in (tmp_path / made).read_bytes()


@pytest.mark.parametrize("text, added, lines", [
    ("int f(void) { return 1; }", "-UNDEBUG", ["compile a.c"]),
    ("int f(void) { return x; }", "-UNDEBUG", ["compile a.c", "failed a.c", "error a.c:1:22: error: use of undeclared identifier 'x'"]),
    ("#ifndef NDEBUG\n#error kept\n#endif", "-UNDEBUG", ["compile a.c", "failed a.c", "error a.c:2:2: error: kept", "asserts a.c"]),
    ("#ifndef NDEBUG\n#error kept\n#endif", "-O1", ["compile a.c"]),
])
def test_why_a_compilation_failed_is_written_down(tmp_path, compilers, text, added, lines):
    cc, _ = compilers(f"--hitmap-log={tmp_path}/log", f"--hitmap-add={added}")
    (tmp_path / "a.c").write_text(text)
    done = run(cc, "-DNDEBUG", "-c", "a.c", folder=tmp_path)
    assert (done.returncode == 0) == (len(lines) == 1)
    assert (tmp_path / "log").read_text().splitlines() == lines
    assert done.stderr.count("error:") == len(lines) // 2 % 2 or len(lines) == 4, "the compiler's words are shown once"


@pytest.mark.parametrize("source", ["conftest.c", "CMakeFiles/CMakeScratch/TryCompile-x/a.c", "CompilerIdC/CMakeCCompilerId.c",
                                    "meson-private/tmpx/testfile.c", "tmpabcd_12z/flag_check.cpp", "tmp0a1b2c3d.c"])
def test_a_check_of_the_compiler_is_no_file_of_the_package(tmp_path, monkeypatch, source):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for words, check in [(["-c", str(tmp_path / source)], True), (["-c", str(tmp_path / "tmpproject" / "a.c")], False)]:
        assert wrapper.is_check(wrapper.arguments.read(words, False)) == check


def test_probes_answer_as_clang_does(tmp_path, compilers):
    cc, _ = compilers()
    for probe in (["--version"], ["-dumpmachine"], ["-print-search-dirs"], ["-dM", "-E", "-x", "c", "/dev/null"]):
        ours, clangs = run(cc, *probe, folder=tmp_path), run(toolchain.find(), *probe, folder=tmp_path)
        assert (ours.returncode, ours.stdout) == (0, clangs.stdout)


def test_an_archive_of_bitcode_is_linked(tmp_path, compilers):
    """The system's `ar` does not know bitcode and says so, but lld reads what it made."""
    cc, _ = compilers("--hitmap-variant=lto")
    (tmp_path / "a.c").write_text(SOURCE)
    (tmp_path / "b.c").write_text("int odd(int n); int even(int n) { return odd(n + 1); }\n")
    assert run(cc, "-c", "a.c", "-o", "a.o", folder=tmp_path).returncode == 0
    assert run("ar", "rcs", "liba.a", "a.o", folder=tmp_path).returncode == 0
    done = run(cc, "-shared", "-Wl,--no-undefined", "b.c", "liba.a", "-o", "b.so", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert library(tmp_path / "b.so").edges >= 3


def test_sources_in_assembly_are_left_alone(tmp_path, compilers):
    cc, _ = compilers("--hitmap-variant=guard")
    (tmp_path / "a.c").write_text(SOURCE)
    for name in ("b.s", "c.S"):
        (tmp_path / name).write_text(f".globl {name[0]}\n{name[0]}: ret\n.section .note.GNU-stack,\"\",@progbits\n")
    done = run(cc, "-Wall", "-Werror", "-shared", "a.c", "b.s", "c.S", "-o", "a.so", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [[], ["--guard"], ["--lto"], ["--func"], ["--func", "--guard"], ["--cmp"], ["--gcc"], ["--live"]])
def test_the_printed_flags_work_without_the_wrapper(tmp_path, capsys, words):
    assert main(["flags", *words]) == 0
    both = capsys.readouterr().out.splitlines()
    lines = {}
    for which in ("compile", "link"):
        assert main(["flags", "--" + which, *words]) == 0
        lines[which] = capsys.readouterr().out
    assert both == [lines["compile"].strip(), lines["link"].strip()]
    assert main(["flags", "--json", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [shlex.join(told[which]) for which in ("compile", "link")] == both
    (tmp_path / "a.c").write_text(SOURCE)
    run(told["compiler"], *told["compile"], "-c", "a.c", folder=tmp_path)
    done = run(told["compiler"], "-shared", "a.o", *told["link"], "-o", "a.so", folder=tmp_path)
    assert (done.returncode, done.stderr, library(tmp_path / "a.so").instrumented) == (0, "", True)


def test_the_wrappers_take_the_same_choices(tmp_path):
    for words in (["guard"], ["lto"], ["func", "guard"], ["live"], ["lto", "live"], ["cmp"], ["asan"], ["ubsan", "asan", "func"]):
        name = "+".join(variants.FLAGS["--" + word] for word in words)
        short = wrapper.plan([*("--hitmap-" + word for word in words), "-shared", "a.c"], False)
        assert short == wrapper.plan([f"--hitmap-variant={name}", "-shared", "a.c"], False)
        for flag in variants.compile_flags(variants.named(name)):
            assert flag in short


def test_choices_that_exclude_each_other_are_refused(capsys):
    for words, says in [(["--guard", "--lto"], "exclude each other"), (["--gcc", "--func"], "joins no other")]:
        with pytest.raises(SystemExit) as ended:
            main(["flags", *words])
        assert ended.value.code == 4 and says in capsys.readouterr().err
    with pytest.raises(ValueError, match="exclude each other"):
        wrapper.plan(["--hitmap-guard", "--hitmap-cmp", "-c", "a.c"], False)


@pytest.mark.parametrize("variant, bad, says", [
    ("asan", "lib.at(3, 0)", "AddressSanitizer: heap-buffer-overflow"),
    ("ubsan", "lib.at(0, 2**31 - 1)", "signed integer overflow"),
])
def test_a_library_with_a_sanitizer_is_loaded_into_python(tmp_path, compilers, variant, bad, says):
    """Python brings the sanitizer's library along, because an extension comes too late for it."""
    (tmp_path / "a.c").write_text("#include <stdlib.h>\nint at(int i, int n) { int *p = malloc(4); *p = n + 1; "
                                  "int v = p[i]; free(p); return v; }\n")
    cc, _ = compilers(f"--hitmap-variant={variant}")
    # Python's own flags have -fwrapv, and setuptools hands them on.
    done = run(cc, "-fwrapv", "-shared", "a.c", "-o", "a.so", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    preload = toolchain.sanitizer_library(toolchain.find(), variants.SANITIZERS[variant].library)
    built = library(tmp_path / "a.so")
    assert built.instrumented and os.path.basename(preload) in built.needed
    environ = {"LD_PRELOAD": preload, "PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"}
    for call, ends in [("lib.at(0, 1)", False), (bad, True)]:
        code = f"import ctypes; lib = ctypes.CDLL('./a.so'); {call}"
        done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert (done.returncode != 0, says in done.stderr) == (ends, ends), done.stderr


def test_a_comparison_build_redirects_what_its_object_stands_in_for(tmp_path, compilers):
    """The linker takes the names from one list, the stand-ins are in C: neither has one more."""
    with open(stub.REDIRECTED, encoding="utf-8") as file:
        listed = {line.strip().removeprefix("--wrap=") for line in file}
    symbols = subprocess.run(["nm", stub.compiled(toolchain.find(), "hitmap_comparisons")],
                             capture_output=True, text=True, check=True).stdout.split()
    assert {name.removeprefix("__wrap_") for name in symbols if name.startswith("__wrap_")} == listed
    assert set(variants.REDIRECTED) <= listed


def test_what_was_done_is_logged(tmp_path, compilers):
    cc, _ = compilers(f"--hitmap-log={tmp_path}/log")
    (tmp_path / "a.c").write_text(SOURCE)
    run(cc, "-shared", "a.c", "-o", "a.so", folder=tmp_path)
    run(cc, "--version", folder=tmp_path)
    assert (tmp_path / "log").read_text() == "compile a.c\nlink a.so\n"


def test_an_unknown_variant_names_those_that_exist():
    with pytest.raises(ValueError, match="counters, guard, lto, comparisons, func"):
        wrapper.plan(["--hitmap-variant=none", "-c", "a.c"], False)


def test_a_missing_clang_says_what_to_install(tmp_path):
    with pytest.raises(toolchain.NoClang, match="apt-get install clang-19"):
        toolchain.find({"PATH": str(tmp_path)})
    with pytest.raises(toolchain.NoClang, match="CC names clang-99"):
        toolchain.find({"PATH": str(tmp_path), "CC": "clang-99"})


def test_the_newest_clang_is_found_and_the_wrapper_never_finds_itself(tmp_path):
    for name in ("clang", "clang-14", "clang-17", "hitmap-clang"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    assert toolchain.find({"PATH": str(tmp_path), "CC": "hitmap-clang"}) == str(tmp_path / "clang-17")
    assert toolchain.find({"PATH": str(tmp_path), "CC": "clang-14"}) == str(tmp_path / "clang-14")


def test_the_wrapper_imports_little():
    """It starts once for each source file; these each cost as much as the rest of it."""
    code = (f"import sys; sys.path.insert(0, {os.path.dirname(wrapper.__file__)!r} + '/../..'); "
            "parent = type(sys)('hitmap'); parent.__path__ = [sys.path[0] + '/hitmap']; sys.modules['hitmap'] = parent; "
            "import hitmap.build.wrapper; "
            "print(*{'re', 'subprocess', 'typing', 'argparse', 'dataclasses', 'hashlib', 'pathlib', 'shutil'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_stub_folder_that_others_may_write_is_not_used(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert stub.private(str(tmp_path / "open")) is None
    assert stub.private(str(tmp_path / "new")) == str(tmp_path / "new")
