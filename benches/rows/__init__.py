"""What is measured, in the order of the table."""

from peers import PEERS
from rows.row import Row
from rows.throughput import Throughput
from targets import TARGETS

HITMAP, ATHERIS = PEERS["hitmap"], PEERS["atheris"]

ROWS: dict[str, Row] = {
    row.name: row for row in [Throughput(TARGETS[name], (HITMAP, ATHERIS)) for name in ("noop", "ujson", "rapidjson")]
}
