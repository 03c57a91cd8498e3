"""Builds a Python package with coverage and installs it into the Python that runs hitmap.

The steps are those of `build`, in order. Nothing is installed before the wheel was looked into, and
the user's source tree is only read.
"""

import contextlib
import email
import importlib
import importlib.metadata
import os
import pathlib
import re
import shutil
import tempfile
import zipfile

from . import beside, elf, failures, installer, shim, source, stub, toolchain, tools, variants
from .log import Log

ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")

# Libraries of the system that every extension may need; their code is not what is fuzzed.
BASE = re.compile(r"(lib(c|m|dl|rt|util|pthread|stdc\+\+|gcc_s|clang_rt[\w.-]*|c\+\+|c\+\+abi|atomic|hitmap_rt|python[\d.]+\w*)"
                  r"|ld-[\w-]+)\.so")


# In the build's folder: starters of the environment's programs.
TOOLS = "tools"


class Refused(Exception):
    """The build came out without coverage, or cannot begin; the text says why and what to do."""


class Request:
    """What is to be built, and how."""

    def __init__(self, what, variant=variants.DEFAULT, level=None, asserts=True, keep=None, verbose=False, comparisons=True):
        self.what = what            # a requirement, a folder or an archive
        self.variant = variant
        self.level = level          # optimisation: "0" to "3", "g", "s"; None leaves the project's own
        self.asserts = asserts      # assert() stays in
        self.keep = keep            # a folder in which the build's files stay
        self.verbose = verbose
        self.comparisons = comparisons  # make the comparison build, too


class Instrumented:
    """One library of the wheel, read."""

    def __init__(self, member, library):
        self.member = member        # its path in the wheel
        self.library = library
        self.path = member          # where it was installed, once it is


class Built:
    """A wheel that came out of a build, with its libraries."""

    def __init__(self, variant, wheel, libraries, log):
        self.variant = variant
        self.wheel = wheel
        self.libraries = libraries
        self.log = log              # what its compilers wrote down
        about = metadata(wheel)
        self.name, self.version = about["Name"], about["Version"]

    @property
    def files(self):
        return self.log.compiled

    @property
    def edges(self):
        return sum(each.library.edges for each in self.libraries)


def build(request, progress):
    """Builds, checks, installs. Returns what was asked for, and where it is; raises Refused or BuildFailed.

    The ordinary build goes into site-packages, with a comparison build beside it. A build with a
    sanitizer, or of comparisons alone, goes beside an ordinary build of the same version; when there
    is none, one is made.
    """
    clang = toolchain.find()
    variant = request.variant
    with workspace(request.keep) as root:
        if variant.beside is None:
            return ordinary(request, root, clang, progress, request.comparisons)
        built = attempt(request, variant, root, clang, progress, folder=variant.beside)
        put_beside(built, clang, progress)
        if not installed(built.name, built.version):
            progress.step("there is no ordinary build of this version: making one")
            ordinary(request, root, clang, progress, request.comparisons and variant.beside != variants.COMPARISONS.beside)
    return built


def ordinary(request, root, clang, progress, comparisons):
    """Builds and installs; keeps nothing beside it that would be of another version."""
    built = best(request, root, clang, progress, "; a second build follows, for comparisons" if comparisons else "")
    install(built, root, request, progress)
    compared = comparisons and compare(request, root, clang, progress, built.files)
    for name in beside.kept():
        version = beside.version(name, built.name)
        stale = name == variants.COMPARISONS.beside and not compared and request.variant.beside != name
        if version is not None and (stale or version != built.version):
            beside.drop(name, built.name)
            progress.say(f"removed the older {name} build of {built.name}")
    return built


def best(request, root, clang, progress, after=""):
    """The ordinary build: as asked, or by default with a journal if there are many edges."""
    asked = request.variant if request.variant.beside is None else variants.DEFAULT
    built = attempt(request, asked, root, clang, progress, after=after)
    if asked != variants.DEFAULT or built.edges <= variants.JOURNAL_PAYS_ABOVE:
        return built
    for name in ("lto", "guard"):
        progress.step(f"{built.edges:,} edges are many: building again with --{name}, by which a run's cost does not depend on "
                      "their number")
        try:
            return attempt(request, variants.named(name), root, clang, progress, folder=name, after=after, files=built.files)
        except (toolchain.NoClang, installer.BuildFailed, Refused) as error:
            progress.say(f"--{name} does not work for this package: {error}")
    return built


def compare(request, root, clang, progress, files):
    """The comparison build, which is worth having but not worth failing for. True when it is there."""
    variant = variants.COMPARISONS
    progress.step("building for comparisons, which takes about as long again (--no-comparisons leaves it out)")
    try:
        put_beside(attempt(request, variant, root, clang, progress, folder=variant.beside, files=files), clang, progress)
    except (installer.BuildFailed, Refused, OSError) as error:
        progress.say(f"no comparison build: {error}. The ordinary one is installed; hitmap build --cmp -v {request.what} shows "
                     "what went wrong")
        return False
    return True


def attempt(request, variant, root, clang, progress, folder=None, after="", files=0):
    """One build, looked into and not installed; in a folder of its own below `root`, or in `root`.

    `after` is told when it is done; `files` is how many the last build compiled.
    """
    place = root if folder is None else os.path.join(root, f"beside-{folder}")
    os.makedirs(place, exist_ok=True)
    for name in variant.kind.objects:
        stub.compiled(clang, name)
    log = Log(os.path.join(place, "compiled.log"))
    try:
        wheel, output = make_wheel(request, place, environment(place, log.path, clang, request, variant),
                                   os.path.join(root, "pip-cache"), progress, log, after, files)
        libraries = read_wheel(wheel)
        refuse_uninstrumented(libraries, log, output, place)
    finally:
        if request.keep is None:
            drop_sources(place)
    return Built(variant, wheel, libraries, log)


def drop_sources(place):
    """pip's own folders, which were kept to be looked into: a large package's would lie there while the next build needs room."""
    for name in os.listdir(place):
        if name.startswith(("pip-wheel-", "pip-build-env-", "pip-ephem")):
            shutil.rmtree(os.path.join(place, name), ignore_errors=True)


def put_beside(built, clang, progress):
    name = built.variant.beside
    # The others come too late for a process that runs already.
    preload = [toolchain.sanitizer_library(clang, "asan")] if "asan" in built.variant.sanitizers else []
    top = beside.keep(built.wheel, name, built.name, preload)
    for each in built.libraries:
        each.path = os.path.join(top, *(beside.within(each.member) or [each.member]))
    progress.step(f"kept beside the ordinary build: {top}")


def installed(name, version):
    """Whether this version is in site-packages, with coverage."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    libraries = [path for path in (str(file.locate()) for file in found.files or []) if path.endswith(".so") and os.path.isfile(path)]
    read = [elf.read(pathlib.Path(path).read_bytes()) for path in libraries]
    return found.version == version and any(library is not None and library.instrumented for library in read)


@contextlib.contextmanager
def workspace(keep):
    """A folder for all that the build makes: temporary, or the user's, which must be empty or new."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="hitmap-build-", ignore_cleanup_errors=True) as root:
            yield os.path.realpath(root)
        return
    os.makedirs(keep, exist_ok=True)
    if os.listdir(keep):
        raise Refused(f"{keep} is not empty; name a new folder with --keep, as old objects must not be linked again")
    yield os.path.realpath(keep)


def inherited():
    """The environment that we have, for a pip that runs in another folder."""
    environ = dict(os.environ)
    for name in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"):
        if name in environ:
            environ[name] = " ".join(word if "://" in word else os.path.abspath(word) for word in environ[name].split())
    return environ


def environment(root, log, clang, request, variant):
    """The environment of the build: our compilers first, everything temporary below `root`."""
    options = [f"--hitmap-clang={clang}", f"--hitmap-variant={variant.name}",
               f"--hitmap-root={root}", f"--hitmap-log={log}"]
    if request.level is not None:
        options.append(f"--hitmap-add=-O{request.level}")
    if request.asserts:
        options.append("--hitmap-add=-UNDEBUG")
    compilers = os.path.join(root, "compilers")
    cc, cxx = shim.write(compilers, options)
    environ = inherited()
    for name in ("LDSHARED", "LDCXXSHARED", "CPP", "CCSHARED"):
        environ.pop(name, None)     # they would bring another compiler in
    environ.update(
        CC=cc, CXX=cxx, TMPDIR=root,
        PATH=os.pathsep.join([compilers, *tools.write(os.path.join(root, TOOLS)), environ.get("PATH", os.defpath)]),
        # The same source makes the same library, thus the same identity, wherever it is built.
        SOURCE_DATE_EPOCH=environ.get("SOURCE_DATE_EPOCH", "315619200"), PYTHONHASHSEED="0",
        # scikit-build-core strips by default.
        SKBUILD_INSTALL_STRIP="false",
        # Programs that the build itself runs may leak.
        ASAN_OPTIONS="detect_leaks=0",
    )
    environ.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
    return environ


def make_wheel(request, root, environ, cache, progress, log, after, files):
    """Path of the wheel that pip built, and what it printed. Build requirements come by pip's own isolation."""
    wheels = os.path.join(root, "wheel")
    # By its build backend even where there is only a setup.py: pips before 25.3 would run that in this environment,
    # which need not have what it takes. What it unpacked stays, to be looked into.
    arguments = ["wheel", "--use-pep517", "--no-deps", "--no-clean", "--wheel-dir", wheels, "--verbose",
                 # pip's own cache would hand out an ordinary wheel, or keep ours for ordinary
                 # installs. In this one are the downloads that the next build needs again.
                 "--cache-dir", cache]
    if is_path(request.what):
        arguments.append(local(request.what, root, progress))
    else:
        arguments += ["--no-binary", requirement_name(request.what), request.what]
        progress.once(f"getting the source of {request.what} and what it needs to build")
    before = progress.seconds()

    def watch(output):
        log.read()
        if log.compiled:
            of = f"{output.done}, " if output.done else ""
            compiled = f"{log.compiled:,} of {counted(files, 'file')}" if log.compiled <= files else counted(log.compiled, "file")
            linked = f", linked {log.linked}" if log.linked else ""
            progress.count(f"{of}compiled {compiled}{linked}: {log.last}")
        elif log.checks:
            progress.count(f"configuring, {counted(log.checks, 'check')} of the compiler")

    def explain(lines):
        return failures.explain(lines, log.read(), request.asserts, lambda name: present(name, environ["PATH"]))

    output = installer.run(arguments, environ, root, f"{request.what} does not build", request.verbose, watch, explain)
    log.read()
    shutil.rmtree(os.path.join(cache, "wheels"), ignore_errors=True)
    took = progress.seconds() - before
    progress.step(f"built in {took:.0f} s: {counted(log.compiled, 'file')} compiled, {log.linked} linked{after}")
    made = [name for name in os.listdir(wheels) if name.endswith(".whl")]
    return os.path.join(wheels, made[0]), output


def counted(number, what):
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def present(name, path):
    """Where a build finds a program, by the name that its user knows."""
    found = toolchain.on_path(name, path)
    folder, _, file = (found or "").rpartition(os.sep)
    return os.path.join(tools.scripts(), file) if os.path.basename(folder) == TOOLS else found


def is_path(what):
    """As pip decides: a path shows that it is one; a bare name asks the index."""
    return os.sep in what.partition("@")[0] or what.startswith((".", "~")) or what.endswith(ARCHIVES)


def requirement_name(requirement):
    match = re.match(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)", requirement)
    if match is None:
        raise Refused(f"{requirement!r} is neither a package nor a path; say NAME, NAME==VERSION or ./PATH")
    return match[1]


def local(what, root, progress):
    """What pip is to build: a clean copy of a folder, or the archive as it is."""
    path = os.path.realpath(os.path.expanduser(what))
    if not os.path.exists(path):
        raise Refused(f"{what} does not exist")
    if os.path.isfile(path):
        return path
    if not any(os.path.isfile(os.path.join(path, name)) for name in ("pyproject.toml", "setup.py")):
        raise Refused(f"{what} holds no Python package: it has neither pyproject.toml nor setup.py; for a plain "
                      "C++ library use hitmap-clang++, or the flags that `hitmap flags` prints")
    target = os.path.join(root, os.path.basename(path) or "source")
    progress.once(f"copying {what}")
    source.copy(path, target)
    return target


def read_wheel(wheel):
    """Every ELF file in the wheel that is a library for this machine."""
    libraries = []
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                data = file.read(4)
                if elf.is_elf(data) and (library := elf.read(data + file.read())) is not None:
                    libraries.append(Instrumented(member, library))
    return libraries


def refuse_uninstrumented(libraries, log, output, place):
    if any(each.library.instrumented for each in libraries):
        return
    if not libraries:
        raise Refused("nothing was installed: " + no_library(log, output, place))
    names = ", ".join(each.member for each in libraries)
    if not log.called:
        raise Refused(f"nothing was installed: {names} came out without coverage, as the build never called hitmap's "
                      "compiler. Either the package only brings along libraries that were built elsewhere, or "
                      "is written in another language than C and C++, or its build system names a compiler "
                      "itself: find where (-v shows the commands) and have it use CC and CXX")
    if any(each.library.edges for each in libraries):
        raise Refused(f"nothing was installed: {names} was compiled with coverage but linked without hitmap's stub. Its "
                      "build links with another program than CC or CXX (-v shows which): have it use them")
    raise Refused(f"nothing was installed: {names} came out without coverage though {counted(log.compiled, 'file')} were compiled. "
                  "They hold no branch or function of their own, or the build removed the sections "
                  "named __sancov_* when it linked or stripped")


def no_library(log, output, place):
    """Why a wheel holds no compiled code."""
    if log.failed:
        error, remedy = failures.explain(output.lines, log)
        return (f"{optional(log)}\n  " + "\n  ".join(error) + "\nwhat to do: "
                + (remedy or "correct that, or build another version of the package"))
    if log.compiled:
        error, remedy = failures.explain(output.lines, log)
        return (f"the build compiled {counted(log.compiled, 'file')}, as {log.last}, but its wheel holds no library"
                + (":\n  " + "\n  ".join(error) if error else "") + f"\nwhat to do: {remedy or 'see with -v how it went on'}")
    written = source.compiled_languages(place)
    if not written:
        return ("this package holds no compiled code (pure Python). hitmap covers C and C++; if the compiled part comes from "
                "another package, build that one")
    error, remedy = failures.explain(output.lines, log)
    found = f"its source holds {counted(len(written), 'file')} in C, C++ or Cython, as {written[0]}, but the build compiled none of them"
    if error:
        return f"{found}:\n  " + "\n  ".join(error) + f"\nwhat to do: {remedy or 'see with -v what it says before'}"
    return (f"{found}. An optional part may have to be asked for, by a variable or a setting: look in the project's "
            "documentation, or in its setup.py; -v shows what the build says")


def optional(log):
    """What a build went on without."""
    return f"{log.failed[0]} does not compile, and the package went on without what it belongs to:"


def install(built, root, request, progress):
    """Installs the wheel over what is there, then what it needs to run, where that is missing."""
    wheel = built.wheel
    progress.step(f"installing {os.path.basename(wheel)}")
    environ = inherited()
    installer.run(["install", "--no-deps", "--force-reinstall", "--no-cache-dir", wheel], environ, root,
            f"{os.path.basename(wheel)} was built but could not be installed", request.verbose)
    if needs_others(wheel):
        installer.run(["install", wheel], environ, root, "what the package needs to run could not be installed", request.verbose)
    locate(built.libraries, built.name)


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.endswith(".dist-info/METADATA") and member.count("/") == 1:
                return email.message_from_bytes(archive.read(member))
    return email.message_from_string("")


def needs_others(wheel):
    return any("extra ==" not in line for line in metadata(wheel).get_all("Requires-Dist", []))


def locate(libraries, name):
    """Fills in where each library was installed."""
    importlib.invalidate_caches()
    try:
        files = importlib.metadata.distribution(name).files or []
    except importlib.metadata.PackageNotFoundError:
        return  # into another folder than Python looks into: pip was told so by its own settings
    for each in libraries:
        for file in files:
            if file.name == os.path.basename(each.member) and str(file).endswith(tail(each.member)):
                each.path = os.path.normpath(file.locate())


def tail(member):
    """The path in site-packages: NAME.data/platlib/ is where some wheels put theirs."""
    first, _, rest = member.partition("/")
    return rest.partition("/")[2] if first.endswith(".data") else member


def outside(libraries):
    """Libraries that the package uses and that nobody instrumented."""
    inside = {os.path.basename(each.member) for each in libraries}
    wanted = {name for each in libraries for name in each.library.needed}
    return sorted(name for name in wanted - inside if not BASE.match(name))
