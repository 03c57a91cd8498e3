"""`hitmap build`: reads the command line, tells the result."""

import argparse
import os
import sys
import traceback

from . import installer, package, progress, stub, toolchain, variants

OK, INTERNAL, USAGE, INTERRUPTED = 0, 3, 4, 2

EXAMPLES = """\
examples:
  hitmap build pytomlpp==1.1.0          from the package index, as source
  hitmap build ./mylib                  a folder with a pyproject.toml or setup.py; it is only read
  hitmap build -O 1 ./mylib             quicker to compile, better tracebacks
  hitmap build --guard bigpackage       for more than 250,000 edges
  hitmap build -v --keep /tmp/b ujson   show the compilers' output, keep the build's files

for any other build system:
  CC=hitmap-clang CXX=hitmap-clang++ ./configure
  clang++ $(hitmap flags --compile) -c a.cpp && clang++ -shared a.o $(hitmap flags --link)

exit codes: 0 built and installed, 2 interrupted, 3 internal error, 4 usage, environment, failed build
or a package without coverage
"""


class Parser(argparse.ArgumentParser):
    """argparse ends with 2 on wrong usage; hitmap's commands end with 4."""

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(words=None):
    words = sys.argv[1:] if words is None else words
    run = flags if words[:1] == ["flags"] else build
    try:
        return run(words[1:] if run is flags else words)
    except (package.Refused, toolchain.NoClang, stub.StubFailed, OSError) as error:
        print(f"hitmap build: {error}", file=sys.stderr)
        return USAGE
    except installer.BuildFailed as failed:
        tell_failure(failed)
        return USAGE
    except KeyboardInterrupt:
        print("hitmap build: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception:
        traceback.print_exc()
        print("hitmap build: this is a mistake in hitmap; please report it with the lines above", file=sys.stderr)
        return INTERNAL


def build(words):
    parser = Parser("hitmap build", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES,
                    description="Builds a Python package's C and C++ code with coverage and installs it here.")
    parser.add_argument("what", metavar="PACKAGE[==VERSION] | PATH", help="a package, a folder or a source archive")
    add_variant(parser)
    parser.add_argument("-O", dest="level", choices=list("0123gs"), help="optimisation level instead of the project's own")
    parser.add_argument("--no-asserts", dest="asserts", action="store_false",
                        help="leave assert() to the project; else it is kept, because each is an oracle (-UNDEBUG)")
    parser.add_argument("--keep", metavar="DIR", help="keep source and objects in this folder")
    parser.add_argument("-v", "--verbose", action="store_true", help="show pip's and the compilers' output")
    asked = parser.parse_args(words)
    status = progress.Progress()
    request = package.Request(asked.what, asked.variant, asked.level, asked.asserts, asked.keep, asked.verbose)
    tell(package.build(request, status), request, status)
    return OK


def flags(words):
    parser = Parser("hitmap flags", description="Prints the flags that give clang's output coverage, for any "
                    "build system.", epilog="example: clang++ -shared a.o $(hitmap flags --link) -o a.so")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--compile", action="store_true", help="for each C or C++ file")
    which.add_argument("--link", action="store_true", help="for each shared library and executable")
    add_variant(parser)
    asked = parser.parse_args(words)
    if asked.compile:
        print(*variants.compile_flags(asked.variant))
    else:
        print(*variants.link_flags(asked.variant, toolchain.find()))
    return OK


def add_variant(parser):
    which = parser.add_mutually_exclusive_group()
    for flag, variant in (("--guard", variants.GUARD), ("--cmp", variants.COMPARISONS)):
        which.add_argument(flag, dest="variant", action="store_const", const=variant, default=variants.DEFAULT,
                           help=variant.story)


def tell(libraries, request, status):
    """The result, on standard output: a line for each library."""
    status.clear()
    for each in libraries:
        known = f"{each.library.edges:>9,} edges" if each.library.instrumented else "  no coverage  "
        print(f"{known}  {each.path}")
    plain = [each for each in libraries if not each.library.instrumented]
    if plain:
        status.say(f"{len(plain)} of {len(libraries)} libraries have no coverage: they came ready-made, or were linked by "
                   "another program than CC and CXX (-v shows the commands)")
    if others := package.outside(libraries):
        status.say(f"not covered, as they belong to the system: {', '.join(others)}")
    total = sum(each.library.edges for each in libraries)
    if total > variants.GUARD_PAYS_ABOVE and request.variant is not variants.GUARD:
        status.say(f"{total:,} edges are many: --guard makes each run's cost independent of their number")
    if request.keep:
        status.say(f"source and objects are in {os.path.abspath(request.keep)}")


def tell_failure(failed):
    if failed.tail:
        print(f"the last {len(failed.tail)} lines of the build:", file=sys.stderr)
        for line in failed.tail:
            print(f"  {line}", file=sys.stderr)
    print(f"hitmap build: {failed.what}", file=sys.stderr)
    print("what to do: " + (failed.remedy or "read the first error above, or all of them with -v; if it only fails "
                            "with hitmap, see whether it builds with CC=clang CXX=clang++ pip wheel"), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
