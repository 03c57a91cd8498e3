"""hitmap-clang and hitmap-clang++: clang, with coverage.

    CC=hitmap-clang CXX=hitmap-clang++ ./configure && make
    hitmap-clang++ -shared -fPIC parser.cpp -o libparser.so

Every argument goes to clang, except those that start with --hitmap-:

    --hitmap-guard, --hitmap-lto, --hitmap-func, --hitmap-cmp, --hitmap-live, --hitmap-asan, --hitmap-ubsan
                             another instrumentation than the default (see `hitmap flags --help`)
    --hitmap-variant=NAME    the same by its name
    --hitmap-clang=PATH      this clang instead of the one that would be found
    --hitmap-add=FLAG        a flag after all others of a compilation
    --hitmap-root=DIR        paths in DIR, which is temporary, are recorded without it
    --hitmap-log=FILE        append a line for each file compiled, each library linked and each check of the compiler

Started by the scripts of these names in `harness-python/data`, or by those that `shim` writes. Runs once for each
source file: it imports little and ends by becoming clang.
"""

import os
import sys

from . import arguments, stub, toolchain, variants

# Beside the marks that tell a check by its source.
CHECKS = (*arguments.FEATURE_CHECKS, "CompilerId", "sanitycheck", "flagcheck", "flag_check")


def main(words, cxx):
    try:
        command = plan(words, cxx)
    except (toolchain.NoClang, stub.StubFailed, ValueError) as error:
        print(f"hitmap-clang: {error}", file=sys.stderr)
        sys.exit(4)
    os.execv(command[0], command)


def plan(words, cxx):
    """The command to run in place of the one that was given."""
    options = Options()
    words = [word for word in words if not options.take(word)]
    command = arguments.read(words, cxx)
    variant = options.variant
    clang = options.clang or toolchain.find()
    compile_flags = link_flags = []
    if command.compiles:
        compile_flags = [*options.add, *variants.compile_flags(variant)]
        if options.root:
            compile_flags += unrooted(options.root, [os.getcwd(), *command.words])
        compile_flags += marked(command.words, options.root)
    if command.links:
        if variant.live and any(word in ("-static", "-static-pie") for word in command.words):
            raise ValueError("--hitmap-live links libhitmap_rt.so, which a static program cannot take: leave out -static")
        link_flags = variants.link_flags(variant, clang)
        if not any(word.startswith("-fsanitize=") for word in [*command.words, *link_flags]):
            link_flags.append(variants.WITHOUT_SANITIZER)
    if options.log:
        note(options.log, command)
    driver = ["--driver-mode=g++"] if cxx else []
    return [clang, *driver, *command.with_flags(compile_flags, link_flags)]


class Options:
    """What the --hitmap- arguments say."""

    def __init__(self):
        self.parts = []             # of the variant's name
        self.clang = self.root = self.log = None
        self.add = []

    @property
    def variant(self):
        return variants.named("+".join(self.parts)) if self.parts else variants.DEFAULT

    def take(self, word):
        """True when the word is ours."""
        if not word.startswith("--hitmap-"):
            return False
        name, _, value = word[len("--hitmap-"):].partition("=")
        if name == "variant":
            self.parts += value.split("+")
        elif "--" + name in variants.FLAGS:
            self.parts.append(variants.FLAGS["--" + name])
        elif name == "add":
            self.add.append(value)
        elif name in ("clang", "root", "log"):
            setattr(self, name, value)
        else:
            raise ValueError(f"unknown option --hitmap-{name}; there are: variant, clang, add, root, log, "
                             + ", ".join(flag[2:] for flag in variants.FLAGS))
        return True


# The root that debug information has for what lies in a temporary folder; `observers/src/places/names.rs` takes it away again. A
# path that does not begin at the root would be joined to the compilation's folder, and stand there twice.
PACKAGES = "/hitmap-build"


def unrooted(root, words):
    """Flags that keep temporary folders out of the debug information and of __FILE__.

    pip gives each folder below `root` a random ending. Without this, the same source would have
    another build-id, hence another identity, each time it is built.
    """
    names = {}
    for word in words:
        start = word.find(root + os.sep)
        if start < 0:
            continue
        folder, name = named(root, word[start + len(root) + 1:].split(os.sep))
        names[folder] = name
    # meson-python builds in a folder of random name inside the source; clang tries the last first.
    here = words[0]
    if os.path.basename(here).startswith(".mesonpy-"):
        above = next((name for folder, name in names.items() if here.startswith(folder + os.sep)), "")
        names[here] = os.path.join(above, ".mesonpy")
    return [f"-f{what}-prefix-map={old}={begin}{new}" for old, new in names.items()
            for what, begin in (("macro", ""), ("debug", PACKAGES + os.sep))]


def named(root, parts):
    """The folder below `root` that a path goes through, and what it is called."""
    first = parts[0]
    depth, name = 1, first
    if first.startswith("pip-"):
        name = first.rpartition("-")[0]
        if first.startswith("pip-wheel-") and len(parts) > 1:
            depth, name = 2, parts[1].rpartition("_")[0] or parts[1]
    elif first.startswith("tmp"):
        name = "tmp"
    return os.sep.join([root, *parts[:depth]]), name


# Options that name a folder of somebody else's headers, as the next word or in the same one.
FOREIGN = ("-isystem", "-cxx-isystem", "-idirafter")


def marked(words, root=None):
    """Flags that record folders of somebody else's headers as DIR/../DIR.

    A crash in such a header is named by whoever called it, and debug information says nothing of `-isystem`. The path
    stays one that can be opened. Folders below `root` have other names already.
    """
    folders = []
    for at, word in enumerate(words):
        option = next((option for option in FOREIGN if word.startswith(option)), None)
        if option:
            folder = word[len(option):] or (words[at + 1] if at + 1 < len(words) else "")
            folders.append(folder.rstrip(os.sep))
    wanted = [folder for folder in dict.fromkeys(folders) if folder and not (root and folder.startswith(root + os.sep))]
    return [f"-fdebug-prefix-map={folder}={folder}/../{os.path.basename(folder)}" for folder in wanted]


def is_check(command):
    """Whether this asks what the compiler can do, rather than making a part of the package."""
    words = [os.getcwd(), *command.sources, command.output or ""]
    if not command.sources:
        words += [word for word in command.words if not word.startswith("-")]
    # What comes through a pipe is never a file of a package.
    return "-" in words or any(mark in word for mark in CHECKS for word in words) or any(map(is_temporary, words))


def is_temporary(path):
    """Whether it is where Python's tempfile puts files: build scripts try flags there."""
    folder, _, rest = path.rpartition(os.sep + "tmp")
    return folder == os.environ.get("TMPDIR", "/tmp") and len(rest.partition(os.sep)[0].partition(".")[0]) == 8


def note(path, command):
    """A line for each thing done. What only tries the compiler out counts as a check."""
    check = is_check(command)
    lines = []
    if command.compiles:
        lines += [f"{'check' if check else 'compile'} {source}" for source in command.sources]
    if command.links:
        lines.append(f"{'check' if check else 'link'} {command.output or 'a.out'}")
    append(path, lines)


def append(path, lines):
    """Short lines, appended in one write: builds run in parallel."""
    if lines:
        with open(path, "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(f"{line}\n" for line in lines))
