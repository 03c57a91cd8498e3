"""What is measured, in the order of the table."""

from cost.builds import HAMMER, JSON, RE2
from peers import PEERS
from peers.peer import Peer
from rows.bugs import Bug
from rows.cost import Cost
from rows.coverage import Coverage
from rows.engine import ENGINE
from rows.isolated import ISOLATED
from rows.maps import MAPS
from rows.observers import OBSERVERS
from rows.reset import Reset
from rows.row import Row
from rows.size import Size
from rows.throughput import Throughput
from targets import TARGETS

# What is planted in `targets/bugs`, and who tries to find it besides hitmap: those who have a chance.
BUGS = [
    ("nested", "six nested byte compares", ["atheris"]),
    ("magic", "a number of 32 bits", ["atheris"]),
    ("sealed", "four letters and an FNV checksum of the rest", []),
    ("text", "a word by strcmp, no dictionary", ["atheris"]),
    ("word", "a word by std::string's ==, no dictionary", ["atheris"]),
    ("choice", "a switch over constants of 64 bits", ["atheris"]),
    ("length", "a field that is the length of the rest", []),
]


def named(*names: str) -> list[Peer]:
    return [PEERS[name] for name in names]


def rows() -> list[Row]:
    throughput = named("hitmap", "afl-expert", "python-afl", "atheris-asan", "atheris")
    # One fails an assertion soon; the other leaks until libFuzzer ends it.
    coverage = {"pytomlpp": "atheris-again", "cmarkgfm": "atheris-again"}
    return [
        Cost(JSON, "rapidjson 1.1: a document is parsed and written twice"),
        Cost(RE2, "RE2 of June 2022: patterns are compiled, matched and replaced"),
        Cost(HAMMER, "two threads run one small loop each, on the same edges", threads=2),
        Reset(),
        *[Throughput(TARGETS[name], throughput) for name in ("noop", "ujson", "rapidjson")],
        Size(),
        *[
            Coverage(TARGETS[name], named("hitmap", coverage.get(name, "atheris")))
            for name in ("ujson", "rapidjson", "pytomlpp", "msgpack", "cmarkgfm")
        ],
        *[Bug(name, about, TARGETS["bugs"], named("hitmap", *peers)) for name, about, peers in BUGS],
        Bug("ujson510", "CVE-2021-45958 with ASan", TARGETS["ujson510"], named("hitmap"), "buffer-overflow"),
        *MAPS,
        *ISOLATED,
        *OBSERVERS,
        *ENGINE,
    ]


ROWS = {row.name: row for row in rows()}
