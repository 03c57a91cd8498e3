"""Which compile and link flags each instrumentation takes. The only place that says so."""


class Variant:
    """One way to instrument a library."""

    __slots__ = ("name", "story", "compile")

    def __init__(self, name, story, compile):
        self.name = name
        self.story = story
        self.compile = tuple(compile)


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

DEFAULT = COUNTERS
VARIANTS = {variant.name: variant for variant in (COUNTERS, GUARD)}

# Above this, sweeping the counters of all edges costs more than keeping a journal by a call.
GUARD_PAYS_ABOVE = 250_000


def compile_flags(variant):
    """Flags that come last on a command line that generates code."""
    return [*EVERY_OBJECT, *variant.compile]


# A program that is linked with coverage flags on the line would want a sanitizer's library, which
# coverage does not need and which Debian packs apart.
WITHOUT_SANITIZER = "-fno-sanitize-link-runtime"


def link_flags(stub_object, isolate_script):
    """Flags that come last on a command line that links a shared library or an executable.

    The same for every variant: the stub answers all instrumentations. The build-id is the
    library's identity on every machine; not every clang asks for one by itself.
    """
    return [stub_object, "-Wl,-T," + isolate_script, "-Wl,--build-id=sha1"]
