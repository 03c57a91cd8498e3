"""What is measured, in the order of the table."""

from peers import PEERS
from peers.peer import Peer
from rows.coverage import Coverage
from rows.maps import MAPS
from rows.row import Row
from rows.throughput import Throughput
from targets import TARGETS


def named(*names: str) -> list[Peer]:
    return [PEERS[name] for name in names]


def rows() -> list[Row]:
    throughput = named("hitmap", "afl-expert", "python-afl", "atheris-asan", "atheris")
    coverage = {"pytomlpp": "atheris-again"}
    return [
        *[Throughput(TARGETS[name], throughput) for name in ("noop", "ujson", "rapidjson")],
        *[
            Coverage(TARGETS[name], named("hitmap", coverage.get(name, "atheris")))
            for name in ("ujson", "rapidjson", "pytomlpp", "msgpack", "cmarkgfm")
        ],
        *MAPS,
    ]


ROWS = {row.name: row for row in rows()}
