"""`hitmap build`: reads the command line, tells the result."""

import argparse
import json
import os
import shlex
import signal
import sys
import traceback

from . import beside, installer, package, progress, stub, toolchain, variants

OK, INTERNAL, USAGE, INTERRUPTED = 0, 3, 4, 2

EXAMPLES = """\
examples:
  hitmap build pytomlpp==1.1.0          from the package index, as source
  hitmap build --asan pytomlpp==1.1.0   beside it, with AddressSanitizer
  hitmap build ./mylib                  a folder with a pyproject.toml or setup.py; it is only read
  hitmap build -O 1 ./mylib             quicker to compile, better tracebacks
  hitmap build --lto bigpackage         for more than 250,000 edges
  hitmap build -v --keep /tmp/b ujson   show the compilers' output, keep the build's files

for any other build system:
  CC=hitmap-clang CXX=hitmap-clang++ ./configure
  clang++-19 $(hitmap flags --compile) -c a.cpp && clang++-19 -shared a.o $(hitmap flags --link) -o a.so

exit codes: 0 built and installed, 2 interrupted, 3 internal error, 4 usage, environment, failed build
or a package without coverage
"""


FLAGS_EXAMPLES = """\
examples:
  clang++-19 $(hitmap flags --compile) -c a.cpp && clang++-19 -shared a.o $(hitmap flags --link) -o a.so
  hitmap flags --lto                    both lines, with ThinLTO
  hitmap flags --func --guard           parts join; so do they as options of the wrappers:
  hitmap-clang++ --hitmap-func --hitmap-guard -shared a.cpp -o a.so
  hitmap-clang++ --hitmap-live main.cpp -o main && hitmap run -- ./main
"""


class Parser(argparse.ArgumentParser):
    """argparse ends with 2 on wrong usage; hitmap's commands end with 4."""

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(words=None):
    words = sys.argv[1:] if words is None else words
    run = flags if words[:1] == ["flags"] else build
    name = f"hitmap {run.__name__}"
    try:
        return run(words[1:] if run is flags else words)
    except (package.Refused, toolchain.NoClang, stub.StubFailed, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return USAGE
    except installer.BuildFailed as failed:
        tell_failure(failed)
        return USAGE
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception:
        traceback.print_exc()
        print(f"{name}: this is a mistake in hitmap; please report it with the lines above", file=sys.stderr)
        return INTERNAL


def build(words):
    parser = Parser("hitmap build", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES,
                    description="Builds a Python package's C and C++ code with coverage and installs it here; a second "
                    "build, which logs comparisons, is kept beside it for the engine.")
    parser.add_argument("what", metavar="PACKAGE[==VERSION] | PATH", nargs="?", help="a package, a folder or a source archive")
    parser.add_argument("--list", action="store_true", help="print the builds that are kept beside the ordinary ones")
    add_variant(parser)
    parser.add_argument("-O", dest="level", choices=list("0123gs"), help="optimisation level instead of the project's own")
    parser.add_argument("--no-asserts", dest="asserts", action="store_false",
                        help="leave assert() to the project; else it is kept, because each is an oracle (-UNDEBUG)")
    parser.add_argument("--no-comparisons", dest="comparisons", action="store_false",
                        help="leave out the second build, which logs what is compared, for the engine")
    parser.add_argument("--keep", metavar="DIR", help="keep source and objects in this folder")
    parser.add_argument("-v", "--verbose", action="store_true", help="show pip's and the compilers' output")
    asked = parser.parse_args(words)
    if asked.list:
        return show_kept()
    if asked.what is None:
        parser.error("the following arguments are required: PACKAGE[==VERSION] | PATH")
    # However we are asked to end, pip and the compilers end, too, and our folder goes.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    status = progress.Progress()
    request = package.Request(asked.what, variant_of(asked, parser), asked.level, asked.asserts, asked.keep, asked.verbose,
                              asked.comparisons)
    tell(package.build(request, status), request, status)
    return OK


def show_kept():
    for name in beside.kept():
        for _, package_kept in beside.distributions(name):
            print(f"{name:<12} {package_kept.metadata['Name']} {package_kept.version}   {beside.folder(name)}")
    return OK


def flags(words):
    parser = Parser("hitmap flags", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=FLAGS_EXAMPLES,
                    description="Prints the flags that give a compiler's output coverage, for any build system: one line for "
                    "compiling, one for linking.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--compile", action="store_true", help="only those for each C or C++ file")
    which.add_argument("--link", action="store_true", help="only those for each shared library and executable")
    parser.add_argument("--json", action="store_true", help="both as lists of words, with the path of the compiler that they are for")
    add_variant(parser)
    parser.add_argument("--gcc", action="store_true", help=variants.GCC_STORY)
    asked = parser.parse_args(words)
    variant = variant_of(asked, parser)
    if asked.gcc and asked.parts:
        parser.error("--gcc joins no other instrumentation")
    compiler = toolchain.gcc() if asked.gcc else toolchain.find()
    compile_flags, link_flags = [], []
    if not asked.link or asked.json:
        compile_flags = variants.GCC_COMPILE if asked.gcc else variants.compile_flags(variant)
    if not asked.compile or asked.json:
        link_flags = variants.gcc_link_flags(compiler) if asked.gcc else variants.link_flags(variant, compiler)
    if asked.json:
        name = "gcc" if asked.gcc else variant.name
        print(json.dumps({"variant": name, "compiler": compiler, "compile": compile_flags, "link": link_flags}))
    else:
        for line in filter(None, (compile_flags, link_flags)):
            print(shlex.join(line))
    return OK


def add_variant(parser):
    for flag, part in variants.FLAGS.items():
        parser.add_argument(flag, dest="parts", action="append_const", const=part, help=variants.STORIES[part])


def variant_of(asked, parser):
    try:
        return variants.named("+".join(asked.parts)) if asked.parts else variants.DEFAULT
    except ValueError as error:
        parser.error(str(error))


def tell(built, request, status):
    """The result, on standard output: a line for each library."""
    libraries = built.libraries
    status.clear()
    for each in libraries:
        known = f"{each.library.edges:>9,} edges" if each.library.instrumented else "  no coverage  "
        print(f"{known}  {each.path}")
    plain = [each for each in libraries if not each.library.instrumented]
    if plain:
        status.say(f"{len(plain)} of {len(libraries)} libraries have no coverage: they came ready-made, or were linked by "
                   "another program than CC and CXX (-v shows the commands)")
    stripped = [each.path for each in libraries if each.library.instrumented and not each.library.named]
    if stripped:
        status.say(f"{', '.join(stripped)}: its build took the symbols away, so findings have no names of functions; find with -v "
                   "what strips it, and leave that out")
    if built.log.failed:
        status.say(f"{package.optional(built.log)} {' '.join(built.log.errors[:1])}")
    if others := package.outside(libraries):
        status.say(f"not covered, as they belong to the system: {', '.join(others)}")
    if request.keep:
        status.say(f"source and objects are in {os.path.abspath(request.keep)}")


def tell_failure(failed):
    if failed.error:
        show("where it first goes wrong:", failed.error)
    elif failed.tail:
        show("the last lines of the build:", failed.tail)
    print(f"hitmap build: {failed.what}", file=sys.stderr)
    print("what to do: " + (failed.remedy or "see all that the build says with -v; if it only fails with hitmap, see whether "
                            "it builds with CC=clang CXX=clang++ pip wheel"), file=sys.stderr)


def show(title, lines):
    print(title, *(f"  {line.strip(chr(10))}" for line in lines), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
