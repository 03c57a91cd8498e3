"""What the documents and headers say is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from puzzles import puzzle

ROOT = Path(__file__).resolve().parent.parent
# Roots of somebody's own machine. `/tmp`, `/proc`, `/dev` and `/usr` are the same for everybody.
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|Users|work|mnt)/\w")
TEXT = {".rs", ".py", ".pyi", ".c", ".h", ".cpp", ".ld", ".toml", ".md", ".cmake", ".txt", ".yml", ".json", ".sh", ""}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def sources(*suffixes: str) -> list[Path]:
    return [path for path in tracked() if path.suffix in suffixes]


def test_paths_named_in_the_architecture_exist():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = {quoted for quoted in re.findall(r"`([\w./-]+)`", text) if is_path(quoted)}
    assert named, "ARCHITECTURE.md names its files in backquotes"
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def is_path(quoted: str) -> bool:
    """`runtime/wire` and `fuzzer/src/main.rs` are paths; `queue/` of a campaign and `fuzzer_stats` are not."""
    top = quoted.split("/")[0]
    return "/" in quoted.rstrip("/") and (ROOT / top).exists() or quoted.endswith((".md", "Makefile"))


# What opens, reads or makes a file. `/proc` is written by the kernel; what a user names as output is opened as it is.
OPENS = re.compile(r"\bfs::(read|read_to_string|write|copy)\(|File::(open|create|create_new|options)\(|OpenOptions::new")
OPENS_ANYTHING = re.compile(r"/proc/|/dev/null|cannot write\", path")
ROOMS = ("observers/src/disk.rs", "observers/src/snapshot/file.rs", "observers/src/snapshot/log.rs", "fuzzer/src/disk.rs")


@pytest.mark.parametrize("crate", ["observers", "fuzzer", "harness-python"])
def test_files_are_opened_in_one_place(crate):
    elsewhere = []
    for path in sources(".rs"):
        name = str(path.relative_to(ROOT))
        if name.startswith(f"{crate}/src/") and name not in ROOMS:
            code, *_ = path.read_text().partition("#[cfg(test)]")
            lines = enumerate(code.splitlines(), 1)
            opened = [at for at, line in lines if OPENS.search(line) and not OPENS_ANYTHING.search(line)]
            elsewhere += [f"{name}:{line}" for line in opened]
    assert elsewhere == [], "use hitmap_observers::disk or hitmap_fuzzer::disk"


@pytest.mark.parametrize("source", sorted(puzzle.FOLDER.glob("*.cpp")), ids=lambda path: path.stem)
def test_puzzle_states_its_expectation(source):
    stated = puzzle.read(source)
    assert len(stated.seeds) >= 2, "under two fixed seeds"
    assert f"({stated.name}" in source.read_text(), "the module is called like its file"
    for part in (*stated.links, *stated.beside):
        assert part.exists(), part


def test_every_part_and_harness_belongs_to_a_puzzle():
    puzzles = puzzle.all_puzzles()
    parts = {part for p in puzzles for part in (*p.links, *p.beside)}
    assert set((puzzle.FOLDER / "parts").iterdir()) == parts
    names = {p.name for p in puzzles}
    assert {path.stem.removesuffix("_harness") for path in puzzle.FOLDER.glob("*_harness.py")} <= names


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('// expect: found=signal within=1\n// start: "a"\n', "sentence"),
        ('// Prose.\n// start: "a"\n', "expect"),
        ("// Prose.\n// expect: found=signal within=1\n", "start"),
        ('// Prose.\n// expect: found=crash within=1\n// start: "a"\n', "crash"),
        ('// Prose.\n// expect: found=signal\n// start: "a"\n', "within"),
        ('// Prose.\n// expect: found=signal within=1 soon\n// start: "a"\n', "soon"),
        ("// Prose.\n// expect: found=signal within=1\n// start: a\n", "quoted"),
        ('// Prose.\n// expects: found=signal within=1\n// start: "a"\n', "expects"),
    ],
)
def test_a_puzzle_that_states_nothing_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        puzzle.parse("name", text)


def test_the_header_declares_what_the_runtime_exports():
    """All but what hitmap's own parts say to each other."""
    import hitmap

    library = Path(hitmap.__file__).parent / "_rt" / "libhitmap_rt.so"
    exported = {name for name in dynamic_symbols(library) if name.startswith("hitmap_")}
    public = declared("runtime/include/hitmap.h")
    assert public <= exported
    private = {
        "hitmap_register_library",  # called by the stub in each instrumented library
        "hitmap_runtime_table",  # by which a second copy of the runtime finds the first
    }
    assert exported - public <= private


def declared(path: str) -> set[str]:
    code = re.sub(r"/\*.*?\*/", "", (ROOT / path).read_text(), flags=re.DOTALL)
    return set(re.findall(r"\b(hitmap_\w+)\s*\(", code))


def dynamic_symbols(library: Path) -> list[str]:
    """Names that an ELF file defines for others, read from its .dynsym."""
    data = library.read_bytes()

    def number(offset: int, size: int) -> int:
        return int.from_bytes(data[offset : offset + size], "little")

    assert data[:6] == b"\x7fELF\x02\x01", "64-bit, little-endian"
    table, entry, count = number(0x28, 8), number(0x3A, 2), number(0x3C, 2)
    sections = [table + entry * n for n in range(count)]
    [symbols] = [s for s in sections if number(s + 4, 4) == 11]
    strings = number(sections[number(symbols + 40, 4)] + 24, 8)
    start, size = number(symbols + 24, 8), number(symbols + 32, 8)
    names = []
    for symbol in range(start, start + size, 24):
        if number(symbol + 6, 2) != 0:
            name = strings + number(symbol, 4)
            names.append(data[name : data.index(b"\0", name)].decode())
    return names


def test_no_test_is_switched_off():
    off = [path for path in sources(".rs") if re.search(r"#\[ignore\b", path.read_text())]
    assert off == []


def test_no_test_sleeps_to_be_in_step():
    """One poll, in campaign.py, has a deadline; there is no other sleep."""
    sleeping = [path.name for path in (ROOT / "tests").glob("*.py") if "time." + "sleep(" in path.read_text()]
    assert sleeping == ["campaign.py"]


def test_no_file_names_a_machine():
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in tracked()
        if path.suffix in TEXT and path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert named == []


def test_every_allow_has_a_reason():
    bare = [
        f"{path.relative_to(ROOT)}: {match}"
        for path in sources(".rs")
        for match in re.findall(r"#!?\[(?:allow|expect)\([^\]]*\)\]", path.read_text())
        if "reason" not in match
    ]
    assert bare == []


def test_the_index_names_every_test_file():
    index = (ROOT / "tests/README.md").read_text()
    files = {path.name for path in (ROOT / "tests").glob("*.py")}
    assert [name for name in sorted(files) if f"`{name}`" not in index] == []


def test_python_files_compile_without_warnings():
    files = [str(path) for path in sources(".py")]
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import sys\nfor f in sys.argv[1:]: compile(open(f).read(), f, 'exec')", *files],
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
