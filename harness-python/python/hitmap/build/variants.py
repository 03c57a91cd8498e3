"""Which compile and link flags each instrumentation takes. The only place that says so."""

from . import stub


class Variant:
    """One way to instrument a library."""

    __slots__ = ("name", "story", "compile", "objects", "link")

    def __init__(self, name, story, compile, objects=("hitmap_stub",), link=()):
        self.name = name
        self.story = story
        self.compile = tuple(compile)
        self.objects = objects      # of the folder stub/, linked into every library
        self.link = tuple(link)


# Every object, whatever its instrumentation. Position-independent because some makefiles put -fPIC
# into the very variable that a user's flags replace; line tables because findings name source lines.
EVERY_OBJECT = ("-fPIC", "-gline-tables-only")

COUNTERS = Variant(
    "counters",
    "flags say what was hit, 8-bit counters how often within a run; 3 to 12 % slower than plain",
    ["-fsanitize-coverage=edge,inline-8bit-counters,inline-bool-flag,pc-table"],
)

GUARD = Variant(
    "guard",
    "a call per edge keeps a journal: resets cost what was touched; for more than 250,000 edges",
    ["-fsanitize-coverage=edge,trace-pc-guard,pc-table"],
)

# Clang would turn these into loads, or into calls of another name, before the linker sees them.
REDIRECTED = "memcmp bcmp strcmp strncmp strcasecmp strncasecmp strstr strcasestr memmem".split()

COMPARISONS = Variant(
    "comparisons",
    "also logs what is compared, when it is asked; 2 to 4 times slower than plain, for the few runs that need it",
    ["-fsanitize-coverage=edge,inline-8bit-counters,inline-bool-flag,pc-table,trace-cmp",
     *(f"-fno-builtin-{name}" for name in REDIRECTED)],
    objects=("hitmap_stub", "hitmap_comparisons"),
    link=["-Wl,@" + stub.REDIRECTED],
)

DEFAULT = COUNTERS
VARIANTS = {variant.name: variant for variant in (COUNTERS, GUARD, COMPARISONS)}

# Above this, sweeping the counters of all edges costs more than keeping a journal by a call.
GUARD_PAYS_ABOVE = 250_000


def compile_flags(variant):
    """Flags that come last on a command line that generates code."""
    return [*EVERY_OBJECT, *variant.compile]


# A program that is linked with coverage flags on the line would want a sanitizer's library, which
# coverage does not need and which Debian packs apart.
WITHOUT_SANITIZER = "-fno-sanitize-link-runtime"


def link_flags(variant, clang):
    """Flags that come last on a command line that links a shared library or an executable.

    The build-id is the library's identity on every machine; not every clang asks for one by itself.
    """
    objects = [stub.compiled(clang, name) for name in variant.objects]
    return [*objects, "-Wl,-T," + stub.SCRIPT, "-Wl,--build-id=sha1", *variant.link]
