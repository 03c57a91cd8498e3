"""What a puzzle says of itself.

A puzzle is one C++ file that is a Python module, `NAME.cpp` with `run(data)`. Its header comment opens with prose
for people and goes on with lines `// key: value`, which only this file reads:

| key | value | default |
|---|---|---|
| `expect` | `found=WORDS within=N`, and if wanted `seeds=1,2`, `covers=N` | none: it must be there |
| `start` | the initial inputs, as quoted strings with Python's escapes | must be there |
| `dict` | dictionary tokens, quoted | no dictionary |
| `flags` | further flags of `hitmap fuzz` | none |
| `where` | functions that must be named by the stack of one finding each | not looked at |
| `title` | words, each in the title of one finding | not looked at |
| `says` | words that the campaign must tell the user | not looked at |
| `silent` | words that must not reach the user | not looked at |
| `links` | a source that becomes an instrumented shared library which the module needs | none |
| `with` | a source that becomes a further Python module | none |
| `compares` | `yes`: it is also built to tell what it compares | not built |
| `asan` | `yes`: it is built with AddressSanitizer, and fuzzed so | not built |
| `pad` | K: the first `-DPAD=n`, n in 0..K-1, with which the edge total is a multiple of K | no PAD |

`found` is `nothing`, or the kinds of all findings, one word a distinct signature: `found=signal,signal,timeout`.
Kinds are those of `findings/<kind>-<signature>/`: exception signal exit timeout oom sanitizer. `within` is the
campaign's whole budget in executions, so a puzzle with a crash also says that the campaign went on after it.
`covers` is the least number of edges that the campaign must have hit.

A puzzle brings its own harness as `NAME_harness.py`, or gets one that calls `NAME.run(data)`.
"""

import ast
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
KINDS = ("exception", "signal", "exit", "timeout", "oom", "sanitizer")
KEYS = ("expect", "start", "dict", "flags", "where", "title", "says", "silent", "links", "with", "compares", "asan", "pad")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Puzzle:
    name: str
    found: tuple[str, ...]
    within: int
    seeds: tuple[int, ...]
    covers: int
    start: tuple[bytes, ...]
    dictionary: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    title: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    links: tuple[Path, ...] = ()
    beside: tuple[Path, ...] = ()
    compares: bool = False
    asan: bool = False
    pad: int = 0

    @property
    def source(self) -> Path:
        return FOLDER / f"{self.name}.cpp"

    def __str__(self) -> str:
        return self.name


@dataclass
class Header:
    prose: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)


def read(source: Path) -> Puzzle:
    """The puzzle in a file; ValueError, naming the file, when its header does not follow the grammar."""
    try:
        return parse(source.stem, source.read_text())
    except ValueError as e:
        raise ValueError(f"{source.name}: {e}") from None


def parse(name: str, text: str) -> Puzzle:
    header = split(text)
    if not header.prose:
        raise ValueError("the header must say in a sentence what the puzzle is")
    for key in ("expect", "start"):
        if key not in header.keys:
            raise ValueError(f"the header has no `// {key}:` line")
    keys = header.keys
    expect = dict(item.split("=", 1) if "=" in item else (item, "") for item in keys["expect"].split())
    if unknown := expect.keys() - {"found", "within", "seeds", "covers"}:
        raise ValueError(f"`expect` has no {sorted(unknown)}")
    for item in ("found", "within"):
        if item not in expect:
            raise ValueError(f"`expect` wants {item}=")
    found = () if expect["found"] == "nothing" else tuple(sorted(expect["found"].split(",")))
    if unknown := set(found) - set(KINDS):
        raise ValueError(f"no such kind of finding: {sorted(unknown)}")
    words = {key: tuple(keys.get(key, "").split()) for key in ("where", "title", "says", "silent", "links", "with")}
    return Puzzle(
        name=name,
        found=found,
        within=int(expect["within"]),
        seeds=tuple(map(int, expect.get("seeds", "1,2").split(","))),
        covers=int(expect.get("covers", 0)),
        start=tuple(ast.literal_eval("b" + quoted) for quoted in strings(keys["start"])),
        dictionary=tuple(strings(keys.get("dict", ""))),
        flags=tuple(shlex.split(keys.get("flags", ""))),
        where=words["where"],
        title=words["title"],
        says=words["says"],
        silent=words["silent"],
        links=tuple(FOLDER / path for path in words["links"]),
        beside=tuple(FOLDER / path for path in words["with"]),
        asan=keys.get("asan") == "yes",
        compares=keys.get("compares") == "yes",
        pad=int(keys.get("pad", 0)),
    )


def split(text: str) -> Header:
    header = Header()
    for line in text.splitlines():
        if not line.startswith("//"):
            break
        line = line[2:].strip()
        key, colon, value = line.partition(": ")
        if colon and re.fullmatch("[a-z]+", key):
            if key not in KEYS:
                raise ValueError(f"the header has a line `{key}:`, which means nothing; it may have {', '.join(KEYS)}")
            if key in header.keys:
                raise ValueError(f"the header says `{key}:` twice")
            header.keys[key] = value
        elif line:
            header.prose.append(line)
    return header


def strings(text: str) -> list[str]:
    found = QUOTED.findall(text)
    if QUOTED.sub("", text).strip():
        raise ValueError(f"not quoted strings: {text}")
    return found


def all_puzzles() -> list[Puzzle]:
    return [read(source) for source in sorted(FOLDER.glob("*.cpp"))]
