"""Which compile and link flags each way to instrument takes. The only place that says so.

A **variant** is one kind of instrumentation, and what goes with it: `guard`, `func+guard`, `asan`.
Its name is its parts joined by `+`, in any order.
"""

import os

from . import stub, toolchain

# Clang would turn these into loads, or into calls of another name, before the linker sees them.
REDIRECTED = "memcmp bcmp strcmp strncmp strcasecmp strncasecmp strstr strcasestr memmem".split()


class Kind:
    """What the compiler puts at each edge, and what the library carries to go with it."""

    __slots__ = ("name", "flag", "story", "coverage", "compile", "objects", "link", "lto")

    def __init__(self, name, flag, story, coverage, compile=(), objects=("hitmap_stub",), link=(), lto=False):
        self.name = name
        self.flag = flag            # on the command line; None: the default
        self.story = story
        self.coverage = coverage    # of -fsanitize-coverage, after `edge` or `func`
        self.compile = tuple(compile)
        self.objects = objects      # of the folder stub/, linked into every library
        self.link = tuple(link)
        self.lto = lto              # objects are bitcode, which needs lld of the same LLVM

    @property
    def calls(self):
        """Whether the runtime hears of first touches."""
        return "trace-pc-guard" in self.coverage


COUNTERS = Kind(
    "counters", None, "flags say what was hit, 8-bit counters how often within a run; 4 to 12 %% slower than plain",
    "inline-8bit-counters,inline-bool-flag,pc-table",
)
GUARD = Kind(
    "guard", "--guard", "counts, and keeps a journal, so that a reset costs what was touched; 23 to 27 %% slower than plain",
    "trace-pc-guard,pc-table",
    # The header says why; sources in assembly have no use for it.
    # Nor has anybody use for what the assembler says of headers that came by two names.
    compile=["-Xclang", "-no-integrated-as", "-via-file-asm", "-Wa,--no-warn", "-include", stub.GUARD_HEADER, "-Qunused-arguments"],
)
LTO = Kind(
    "lto", "--lto", "ThinLTO puts the journal's callback in line: hit or not, without counts; 4 to 12 %% slower than plain, "
    "and for more than 250,000 edges; needs lld",
    "trace-pc-guard,pc-table",
    compile=["-flto=thin"], objects=("hitmap_stub", "hitmap_live"), link=["-flto=thin"], lto=True,
)
LOGGED = Kind(
    "comparisons", "--cmp", "also logs what is compared, when it is asked; 2 to 4 times slower than plain, for the few runs "
    "that need it",
    "inline-8bit-counters,inline-bool-flag,pc-table,trace-cmp",
    compile=[f"-fno-builtin-{name}" for name in REDIRECTED],
    objects=("hitmap_stub", "hitmap_comparisons"), link=["-Wl,@" + stub.REDIRECTED],
)
KINDS = (COUNTERS, GUARD, LTO, LOGGED)

# GCC has one instrumentation, without edges and without a place for each. Only `hitmap flags` offers
# it: the wrappers and `hitmap build` are clang.
GCC_COMPILE = ("-fPIC", "-g1", "-fsanitize-coverage=trace-pc")
GCC_OBJECTS = ("hitmap_stub", "hitmap_gcc")
GCC_STORY = "for GCC, which calls back at each block; about 3 times slower than plain; joins nothing else"


class Sanitizer:
    """What finds more in the library than a crash would show, beside any kind of coverage."""

    __slots__ = ("name", "story", "compile", "link", "library")

    def __init__(self, name, story, compile, library):
        self.name = name
        self.story = story
        self.compile = tuple(compile)
        # Shared, as an extension cannot bring a static one into Python.
        self.link = (*(word for word in compile if "sanitize" in word), "-shared-libsan")
        self.library = library      # of clang's: libclang_rt.NAME


# A sanitizer ends the process instead of printing and going on: what it finds is a finding.
SANITIZERS = {
    "asan": Sanitizer("asan", "AddressSanitizer: memory errors; 2 to 3 times slower",
                      ["-fsanitize=address", "-fno-omit-frame-pointer"], "asan"),
    # vptr and function want the C++ half of its library, which is not shared. Python gives extensions its own -fwrapv,
    # under which overflow is looked for only by name.
    "ubsan": Sanitizer("ubsan", "UndefinedBehaviorSanitizer: overflow, bad shifts, bad casts",
                       ["-fsanitize=undefined", "-fsanitize=signed-integer-overflow", "-fno-sanitize=vptr,function",
                        "-fno-sanitize-recover=undefined"],
                       "ubsan_standalone"),
}
FUNCTIONS = "functions alone, not edges; up to 4 %% slower than plain"
LIVE = ("the runtime is linked, so that programs without Python set llvm-covmap's bitmap while they run (see hitmap run); functions "
        "with guards, unless --guard or --lto is asked for as well")


class Variant:
    """One way to instrument a library."""

    __slots__ = ("kind", "functions", "sanitizers", "live")

    def __init__(self, kind=COUNTERS, functions=False, sanitizers=(), live=False):
        self.kind = kind
        self.functions = functions
        self.sanitizers = tuple(sorted(sanitizers))
        self.live = live            # brings the runtime along

    @property
    def name(self):
        parts = ["func"] if self.functions else []
        parts += [self.kind.name] if self.kind is not COUNTERS else []
        parts += ["live"] if self.live else []
        return "+".join([*parts, *self.sanitizers]) or COUNTERS.name

    @property
    def beside(self):
        """The folder under .hitmap/ that its builds are kept in; None: site-packages."""
        if self.sanitizers:
            return self.sanitizers[0]
        return COMPARISONS.name if self.kind is LOGGED else None

    def __eq__(self, other):
        return self.name == other.name


DEFAULT = Variant()
COMPARISONS = Variant(LOGGED)
# On the command line, and which part of a name each stands for.
FLAGS = {**{kind.flag: kind.name for kind in KINDS if kind.flag}, "--func": "func", "--live": "live",
         **{"--" + sanitizer: sanitizer for sanitizer in SANITIZERS}}
STORIES = {**{kind.name: kind.story for kind in KINDS}, "func": FUNCTIONS, "live": LIVE,
           **{name: sanitizer.story for name, sanitizer in SANITIZERS.items()}}
NAMES = ", ".join([*(kind.name for kind in KINDS), "func", "live", *SANITIZERS])


def named(name):
    """The variant of this name; ValueError when there is none."""
    kinds, functions, sanitizers, live = [], False, [], False
    for part in name.split("+"):
        kind = next((kind for kind in KINDS if kind.name == part), None)
        if kind is not None:
            kinds.append(kind)
        elif part == "func":
            functions = True
        elif part == "live":
            live = True
        elif part in SANITIZERS:
            sanitizers.append(part)
        else:
            raise ValueError(f"no instrumentation is called {part!r}; there are: {NAMES}, joined by +")
    if len(kinds) > 1:
        raise ValueError(f"{name}: {kinds[0].name} and {kinds[1].name} exclude each other")
    if live and any(not kind.calls for kind in kinds):
        raise ValueError(f"{name}: live needs guards, which {kinds[0].name} has none of; there are guard and lto")
    if live and not kinds:
        return Variant(GUARD, True, sanitizers, live)
    return Variant(kinds[0] if kinds else COUNTERS, functions, sanitizers, live)


# Above this, sweeping the counters of all edges costs more than keeping a journal.
JOURNAL_PAYS_ABOVE = 250_000

# Every object, whatever its instrumentation. Position-independent because some makefiles put -fPIC
# into the very variable that a user's flags replace; line tables because findings name source lines.
EVERY_OBJECT = ("-fPIC", "-gline-tables-only")

# A program that is linked with coverage flags on the line would want a sanitizer's library, which
# coverage does not need and which Debian packs apart.
WITHOUT_SANITIZER = "-fno-sanitize-link-runtime"


def compile_flags(variant):
    """Flags that come last on a command line that generates code."""
    level = "func" if variant.functions else "edge"
    flags = [*EVERY_OBJECT, f"-fsanitize-coverage={level},{variant.kind.coverage}", *variant.kind.compile]
    for sanitizer in variant.sanitizers:
        flags += SANITIZERS[sanitizer].compile
    return flags


def gcc_link_flags(gcc):
    """Flags that come last where GCC links a shared library or an executable, by GNU ld."""
    objects = [stub.compiled(gcc, name) for name in GCC_OBJECTS]
    return [*objects, "-Wl,-T," + stub.SCRIPT, "-Wl,-T," + stub.GCC_SCRIPT, "-Wl,--build-id=sha1"]


def link_flags(variant, clang):
    """Flags that come last on a command line that links a shared library or an executable.

    The build-id is the library's identity on every machine; not every clang asks for one by itself.
    """
    objects = [stub.compiled(clang, name) for name in variant.kind.objects]
    flags = [*objects, "-Wl,-T," + stub.SCRIPT, "-Wl,--build-id=sha1", *variant.kind.link]
    if variant.live:
        library = toolchain.runtime()
        # One word, so that nothing comes between; as a NEEDED entry also where nothing names a symbol of it.
        flags += [f"-Wl,--push-state,--no-as-needed,{library},--pop-state", "-Wl,-rpath," + os.path.dirname(library)]
    if variant.kind.lto:
        flags.append("--ld-path=" + toolchain.lld(clang))
    for sanitizer in variant.sanitizers:
        library = toolchain.sanitizer_library(clang, SANITIZERS[sanitizer].library)
        # By this path programs find it that the build itself runs.
        flags += [*SANITIZERS[sanitizer].link, "-Wl,-rpath," + os.path.dirname(library)]
    return flags
