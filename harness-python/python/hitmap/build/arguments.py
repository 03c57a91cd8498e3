"""Reads a compiler command line: does it generate code, does it link, what would clang refuse?

Pure: looks at nothing but the words (and the response files they name). Written for speed: it
imports nothing.
"""

C_ENDINGS = (".c", ".i")
CXX_ENDINGS = (".cc", ".cpp", ".cxx", ".c++", ".cp", ".C", ".CPP", ".ii", ".cppm", ".ixx")
HEADER_ENDINGS = (".h", ".hh", ".hpp", ".hxx", ".H", ".h++", ".tcc")
ASSEMBLER_ENDINGS = (".s", ".S", ".sx", ".asm")

# Options whose value is the next word.
TAKES_VALUE = frozenset(
    "-o -I -L -D -U -F -B -G -A -T -u -z -e -h -l -x -include -imacros -isystem -idirafter -iquote "
    "-iprefix -iwithprefix -iwithprefixbefore -isysroot --sysroot -include-pch -MF -MT -MQ -MJ "
    "-Xclang -Xlinker --for-linker -Xassembler -Xpreprocessor -Xanalyzer -mllvm -arch -target --param "
    "-framework -rpath -soname -dyld-prefix -working-directory --config -resource-dir".split()
)

# Questions to the compiler. The whole line goes through untouched.
PROBES = frozenset("--version --help -help -dumpmachine -dumpversion -dumpspecs -### -cc1 -cc1as".split())
PROBE_STARTS = ("-print-", "--print-", "--help=", "--help-")

NO_CODE = frozenset("-E -M -MM -fsyntax-only --analyze --preprocess".split())
NO_LINK = frozenset("-c -S -emit-ast --precompile --compile --assemble".split())

# Spelled for GCC; clang 19 stops at each of them (tried). What clang merely warns about stays.
GCC_ONLY = frozenset(
    "-mfpmath=387 -mfpmath=both -mfpmath=sse,387 -mfpmath=387,sse -mfpmath=sse+387 -mfpmath=387+sse "
    "-fuse-linker-plugin -fno-use-linker-plugin -ffat-lto-objects -fno-fat-lto-objects "
    "-fanalyzer -fconcepts -fcoroutines -fmodules-ts -fhardened -fpermissive -fwhole-program "
    "-fconserve-stack -fallow-store-data-races -fno-allow-store-data-races "
    "-ffunction-cse -fno-function-cse -fsplit-wide-types -fno-split-wide-types "
    "-fsection-anchors -fno-section-anchors -fno-gnu-unique -fgnu-unique -fgnu-tm -fnothrow-opt "
    "-fno-enforce-eh-specs -fno-lifetime-dse -fdelete-dead-exceptions -fno-delete-dead-exceptions "
    "-fno-implicit-inline-templates -fimplicit-constexpr -fno-store-merging "
    "-fno-aggressive-loop-optimizations -faggressive-loop-optimizations -fno-set-stack-executable "
    "-fstrict-volatile-bitfields -fno-strict-volatile-bitfields -fno-canonical-system-headers "
    "-fno-reorder-blocks-and-partition -freorder-blocks-and-partition "
    "-fprintf-return-value -fno-printf-return-value -fprofile-partial-training "
    "-floop-interchange -fgraphite -fgraphite-identity -floop-nest-optimize "
    "-gstatement-frontiers -gno-statement-frontiers -gvariable-location-views "
    "-gno-variable-location-views -gstabs -gstabs+ -gxcoff -gvms "
    "-mno-cld -mcld -mno-sse2avx -msse2avx -mno-direct-extern-access -mdirect-extern-access "
    "-fdiagnostics-show-caret -fno-diagnostics-show-caret".split()
)
GCC_ONLY_STARTS = (
    "-flto", "-fopt-info", "-fipa-", "-fno-ipa-", "-ftree-", "-fno-tree-", "-fira-", "-fno-ira-",
    "-fvar-tracking", "-fno-var-tracking", "-fsched-", "-fno-sched-", "-fdump-", "-fcompare-debug",
    "-fvect-cost-model", "-fsimd-cost-model", "-fdiagnostics-urls", "-fplugin", "-specs=", "--specs=",
    "-mindirect-branch=", "-mfunction-return=", "-malign-data=", "-mpreferred-stack-boundary=",
    "-mincoming-stack-boundary=", "-mavx256-split-", "-mno-avx256-split-", "-fcallgraph-info",
)
# These look like the above and are clang's own.
CLANGS_OWN = frozenset("-ftree-vectorize -fno-tree-vectorize -ftree-slp-vectorize "
                       "-fno-tree-slp-vectorize -ftree-vrp -fno-tree-vrp".split())

# Findings name functions and lines: an instrumented library keeps its symbols. The linker's long options take one dash or two,
# and may be cut short; the shortest that GNU ld takes are here, too.
STRIPS = frozenset("-s -S -x".split())
LONG_STRIPS = {"strip-all": "strip-a", "strip-debug": "strip-de", "discard-all": "discard-a",
               "retain-symbols-file": "ret", "strip-section-headers": "strip-s"}
# Linkers that do not read GNU linker scripts, on which the isolation of the counters rests.
NO_SCRIPT_LINKERS = ("-fuse-ld=gold", "-fuse-ld=mold")

# Where build systems keep the sources of their feature checks.
FEATURE_CHECKS = ("conftest", "_configtest", "CMakeTmp", "CMakeScratch", "meson-private", "testfile.c")


class Command:
    """One compiler command line, understood."""

    __slots__ = ("words", "compiles", "links", "sources", "output")

    def __init__(self, words, compiles=False, links=False, sources=(), output=None):
        self.words = words          # what clang gets, before anything is added
        self.compiles = compiles    # C or C++ becomes code: wants the compile flags
        self.links = links          # a shared library or an executable is made: wants the stub
        self.sources = list(sources)
        self.output = output

    def with_flags(self, compile_flags, link_flags):
        """The words with the flags of an instrumentation at their end, where the last one wins."""
        added = list(compile_flags) if self.compiles else []
        if self.links:
            # An `-x c` before would make clang read the stub's object as source text.
            if any(word.startswith("-x") for word in self.words):
                added += ["-x", "none"]
            added += link_flags
        at = self.words.index("--") if "--" in self.words else len(self.words)
        return self.words[:at] + added + self.words[at:]


def read(words, cxx):
    """Understands a command line given to the C driver, or with `cxx` to the C++ driver."""
    words = expand(words)
    if any(word in PROBES or word.startswith(PROBE_STARTS) for word in words):
        return Command(words)

    inputs, languages, mode, output, partial = survey(words, cxx)
    sources = [name for name, language in zip(inputs, languages) if language in ("c", "c++")]
    headers = any(language == "header" for language in languages)
    compiles = "no code" not in mode and bool(sources or headers)
    links = bool(inputs) and not mode and not headers and not partial
    words = fixed(words, {language for language in languages if language in ("c", "c++")}, sources)
    return Command(words, compiles, links, sources, output)


def survey(words, cxx):
    """Inputs with the language of each, what keeps clang from linking, the output, `-r` or not."""
    inputs, languages, mode, output, partial = [], [], set(), None, False
    forced, only_inputs, position = None, False, 0
    while position < len(words):
        word = words[position]
        position += 1
        if only_inputs or not word.startswith("-") or word == "-":
            inputs.append(word)
            languages.append(language_of(word, forced, cxx))
        elif word == "--":
            only_inputs = True
        elif word in TAKES_VALUE:
            value = words[position] if position < len(words) else ""
            position += 1
            if word == "-x":
                forced = None if value == "none" else value
            elif word == "-o":
                output = value
            elif word == "-l":
                inputs.append("-l" + value)
                languages.append("object")
        elif word.startswith("-x"):
            forced = None if word == "-xnone" else word[2:]
        elif word.startswith("-o") and not word.startswith("-obj"):
            output = word[2:]
        elif word in NO_CODE:
            mode.add("no code")
        elif word in NO_LINK:
            mode.add("no link")
        elif word == "-r" or (word.startswith("-Wl,") and ("-r" in word.split(",") or "--relocatable" in word)):
            partial = True
        elif word.startswith("-l"):
            inputs.append(word)
            languages.append("object")
    return inputs, languages, mode, output, partial


def language_of(name, forced, cxx):
    """c, c++, header, assembler, other (a language that takes no flags of ours) or object."""
    if forced is not None:
        if forced in ("c", "cpp-output"):
            return "c"
        if forced in ("c++", "c++-cpp-output"):
            return "c++"
        if forced.endswith("header"):
            return "header"
        return "assembler" if forced.startswith("assembler") else "other"
    if name.endswith(C_ENDINGS):
        return "c++" if cxx and name.endswith(".c") else "c"
    if name.endswith(CXX_ENDINGS):
        return "c++"
    if name.endswith(HEADER_ENDINGS):
        return "header"
    if name.endswith(ASSEMBLER_ENDINGS):
        return "assembler"
    return "object"


def fixed(words, languages, sources):
    """The words without those that clang refuses and those that would hide what was found."""
    # Other warnings than GCC's must not stop a build; feature checks, though, live by -Werror.
    check = any(mark in source for source in sources for mark in FEATURE_CHECKS)
    kept, position, linker = [], 0, Linker()
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            return kept + words[position - 1:]
        if word in TAKES_VALUE:
            value = words[position : position + 1]
            position += 1
            if word not in ("-Xlinker", "--for-linker") or linker.unstripped(value):
                kept += [word, *value]
            continue
        if word == "-s" or word in GCC_ONLY or word in NO_SCRIPT_LINKERS:
            continue
        if word.startswith(GCC_ONLY_STARTS) and word not in CLANGS_OWN:
            continue
        if word == "-Werror" and not check:
            continue
        if word.startswith(("-std=", "--std=")) and wrong_standard(word, languages):
            continue
        if word.startswith(("-Wl,", "--for-linker=")):
            begin, separator = ("-Wl", ",") if word.startswith("-Wl,") else ("--for-linker", "=")
            if parts := linker.unstripped(word.split(",")[1:] if begin == "-Wl" else [word.partition("=")[2]]):
                kept.append(begin + separator + ",".join(parts))
            continue
        kept.append(word)
    return kept


class Linker:
    """What goes to the linker, read word by word: over several options of the compiler, in order."""

    def __init__(self):
        self.drop_value = False     # the next word belongs to an option that was left out

    def unstripped(self, words):
        """The words without those that take symbols away."""
        kept = []
        for word in words:
            if self.drop_value:
                self.drop_value = False
            elif word == "nosectionheader" and kept[-1:] == ["-z"]:
                kept.pop()
            elif (long := long_strip(word)) is not None:
                self.drop_value = long == "retain-symbols-file" and "=" not in word
            elif word not in STRIPS:
                kept.append(word)
        return kept


def long_strip(word):
    """Which long option that strips this is, if it is one."""
    name = word.partition("=")[0]
    body = name[2:] if name.startswith("--") else name[1:] if name.startswith("-") else ""
    return next((long for long, shortest in LONG_STRIPS.items() if long.startswith(body) and body.startswith(shortest)), None)


def wrong_standard(word, languages):
    """True for C++'s standards given to C and C's given to C++: GCC warns, clang stops."""
    cxx = "++" in word
    return ("c" in languages and cxx) or ("c++" in languages and not cxx)


def expand(words):
    """Replaces response files by the words in them."""
    if not any(word.startswith("@") for word in words):
        return list(words)
    expanded = []
    for word in words:
        if word.startswith("@"):
            try:
                with open(word[1:], encoding="utf-8", errors="surrogateescape") as file:
                    expanded += expand(split(file.read()))
                continue
            except OSError:
                pass  # clang, too, takes it literally then
        expanded.append(word)
    return expanded


def split(text):
    """Words of a response file: blanks separate, quotes group, a backslash takes the next as is."""
    words, word, quote, position = [], None, None, 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\" and position < len(text):
            word = (word or "") + text[position]
            position += 1
        elif quote is not None:
            if character == quote:
                quote = None
            else:
                word = (word or "") + character
        elif character in "'\"":
            quote, word = character, word or ""
        elif character.isspace():
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + character
    return words if word is None else [*words, word]
