"""What the wrapper understands of a command line. No compiler runs here."""

import pytest

from hitmap.build import arguments

COMPILE, LINK = ["+compile"], ["+stub", "+script"]


def check(line, expect, cxx=False):
    command = arguments.read(line.split(), cxx)
    assert " ".join(command.with_flags(COMPILE, LINK)) == expect


SAME = "+same"  # stands for the line itself


@pytest.mark.parametrize("line, expect", [
    # compiling and linking
    ("-c a.c -o a.o", "-c a.c -o a.o +compile"),
    ("-S a.c", "-S a.c +compile"),
    ("a.c -o a", "a.c -o a +compile +stub +script"),
    ("-shared a.o b.o -o a.so", "-shared a.o b.o -o a.so +stub +script"),
    ("-shared -Wl,--no-undefined a.o", "-shared -Wl,--no-undefined a.o +stub +script"),
    ("conftest.o -lm", "conftest.o -lm +stub +script"),
    ("a.c.o -o a.c", "a.c.o -o a.c +stub +script"),
    # neither
    ("-c boot.S -o boot.o", "-c boot.S -o boot.o"),
    ("-E a.c", "-E a.c"),
    ("-M a.c", "-M a.c"),
    ("-MM -MF a.d a.c", "-MM -MF a.d a.c"),
    ("-MD -MF a.d -c a.c", "-MD -MF a.d -c a.c +compile"),
    ("-fsyntax-only a.c", "-fsyntax-only a.c"),
    ("-r a.o b.o -o c.o", "-r a.o b.o -o c.o"),
    ("-nostdlib -Wl,-r a.o", "-nostdlib -Wl,-r a.o"),
    # questions
    ("--version", SAME),
    ("-v", SAME),
    ("-dumpmachine", SAME),
    ("-dumpversion", SAME),
    ("-print-search-dirs", SAME),
    ("-print-prog-name=ld", SAME),
    ("--print-file-name=libc.so", SAME),
    ("-Wl,--version", SAME),
    ("-### -c a.c", SAME),
    ("-dM -E -x c -", SAME),
    # languages
    ("-x c - -o t", "-x c - -o t +compile -x none +stub +script"),
    ("-x c++ a.txt -c", "-x c++ a.txt -c +compile"),
    ("-x assembler a.txt -c", "-x assembler a.txt -c"),
    ("-x c-header a.h -o a.h.pch", "-x c-header a.h -o a.h.pch +compile"),
    ("-std=c++17 -c a.c", "-c a.c +compile"),
    ("-std=c++17 -c a.cpp", "-std=c++17 -c a.cpp +compile"),
    ("-std=c99 -c a.cpp", "-c a.cpp +compile"),
    ("-std=gnu11 -c a.c", "-std=gnu11 -c a.c +compile"),
    ("-std=c++11 a.o -o a", "-std=c++11 a.o -o a +stub +script"),
    # what clang refuses
    ("-mfpmath=387 -c a.c", "-c a.c +compile"),
    ("-mfpmath=sse -c a.c", "-mfpmath=sse -c a.c +compile"),
    ("-flto -c a.c", "-c a.c +compile"),
    ("-flto=auto -ffat-lto-objects -fuse-linker-plugin -flto-partition=none -c a.c", "-c a.c +compile"),
    ("-fno-ipa-sra -fvar-tracking-assignments -fopt-info-vec -c a.c", "-c a.c +compile"),
    ("-ftree-vectorize -c a.c", "-ftree-vectorize -c a.c +compile"),
    ("-Werror -c a.c", "-c a.c +compile"),
    ("-Werror -c conftest.c", "-Werror -c conftest.c +compile"),
    ("-Werror=format -c a.c", "-Werror=format -c a.c +compile"),
    # symbols stay, and so does the linker that reads our script
    ("-shared -s a.o", "-shared a.o +stub +script"),
    ("-shared -Wl,--strip-all a.o", "-shared a.o +stub +script"),
    ("-shared -Wl,-O1,-s,-z,now a.o", "-shared -Wl,-O1,-z,now a.o +stub +script"),
    ("-shared -Xlinker -s a.o", "-shared a.o +stub +script"),
    ("-shared -fuse-ld=gold a.o", "-shared a.o +stub +script"),
    ("-shared -fuse-ld=lld a.o", "-shared -fuse-ld=lld a.o +stub +script"),
    # values are no files, and no flags
    ("-o a.c b.o", "-o a.c b.o +stub +script"),
    ("-include a.c -c b.s", "-include a.c -c b.s"),
    ("-D -flto -c a.c", "-D -flto -c a.c +compile"),
    ("-Xclang -flto -c a.c", "-Xclang -flto -c a.c +compile"),
    ("-I inc.c -E", "-I inc.c -E"),
    ("-c -- -odd.c", "-c +compile -- -odd.c"),
])
def test_a_command_line_gets_what_it_needs(line, expect):
    check(line, line if expect is SAME else expect)


@pytest.mark.parametrize("words", [
    "-s", "-Wl,-s", "-Wl,-S", "-Wl,-x", "-Wl,--strip-all", "-Wl,-strip-all", "-Wl,--strip-debug", "-Wl,-strip-debug", "-Wl,--strip-a",
    "-Wl,-strip-al", "-Wl,--strip-deb", "-Wl,--discard-all", "-Wl,-discard-a", "-Wl,--strip-section-headers", "-Wl,-s,-x,-S",
    "-Wl,-z,nosectionheader", "-Wl,--retain-symbols-file=list", "-Wl,-retain-symbols-file,list", "-Xlinker -s", "-Xlinker --strip-all",
    "-Xlinker -strip-all", "-Xlinker --retain-symbols-file -Xlinker list", "--for-linker=-s", "--for-linker -strip-all",
    "-Wl,--retain-symbols-file -Wl,list",
])
def test_every_spelling_of_stripping_is_left_out(words):
    check(f"-shared {words} a.o", "-shared a.o +stub +script")


@pytest.mark.parametrize("words", [
    "-Wl,-z,now", "-Wl,-soname,strip-all", "-Wl,--strip-discarded", "-Wl,-X", "-Wl,-export-dynamic", "-Wl,--strip", "-Wl,--discard-none",
    "-Xlinker --no-undefined", "--for-linker=-z --for-linker=now", "-lstrip-all", "-Wl,-rpath,/strip-all", "-Wl,-O1,--sort-common",
])
def test_what_only_looks_like_stripping_stays(words):
    check(f"-shared {words} a.o", f"-shared {words} a.o +stub +script")


def test_the_cxx_driver_takes_c_files_for_cxx():
    check("-std=c99 -c a.c", "-c a.c +compile", cxx=True)
    check("-std=c++17 -c a.c", "-std=c++17 -c a.c +compile", cxx=True)


def test_a_response_file_is_read(tmp_path):
    words = tmp_path / "words"
    words.write_text('-shared "a b.o" c\\ d.o\n-flto \'\' -o x.so')
    assert arguments.read([f"@{words}"], False).words == ["-shared", "a b.o", "c d.o", "", "-o", "x.so"]


def test_a_response_file_that_is_not_there_stays_a_word():
    check("@nowhere -c a.c", "@nowhere -c a.c +compile")


def test_sources_and_output_are_known():
    command = arguments.read("-c src/a.c src/b.cpp -o out.o".split(), False)
    assert (command.sources, command.output) == (["src/a.c", "src/b.cpp"], "out.o")
