"""Runs the benchmarks: peers in turns, round after round, then one table. See README.md."""

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import report
from peers.builder import HOME, Unavailable
from peers.side import Side
from rows import ROWS
from rows.row import Row

# With fewer rounds a median says little, and nothing is recorded.
RECORDED = 3


def main() -> int:
    asked = arguments()
    if asked.list:
        for row in ROWS.values():
            print(f"{row.name:14} {row.unit}: {row.about}; {', '.join(peer.name for peer in row.peers)}")
        return 0
    rows = [ROWS[name] for name in asked.rows or ROWS]
    try:
        prepare(rows)
        load = [loaded()]
        figures = measure(rows, asked.seconds, asked.rounds)
        load.append(loaded())
    except (Unavailable, TimeoutError) as error:
        print(f"benches: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 2
    print("\n" + report.table(rows, figures))
    if asked.rounds >= RECORDED:
        path = report.record(rows, figures, asked.seconds, asked.rounds, ", ".join(load), asked.name)
        print(f"written to {os.path.relpath(path)}")
    else:
        print(f"not recorded: that takes {RECORDED} rounds")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/run.py", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to run; all of them when none is named")
    parser.add_argument("--seconds", type=whole, help="CPU time of one campaign (each row has its own)")
    parser.add_argument("--rounds", type=whole, default=5, help="campaigns of each peer (5)")
    parser.add_argument("--name", help="goes into the name of the file with the results, for some rows alone")
    parser.add_argument("--list", action="store_true", help="say what rows there are")
    asked = parser.parse_args()
    if unknown := [name for name in asked.rows if name not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return asked


def whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def prepare(rows: list[Row]) -> None:
    for peer in dict.fromkeys(peer for row in rows for peer in row.peers):
        print(f"installing {peer.name}", flush=True)
        peer.install()
    for row in rows:
        print(f"building {row.name}", flush=True)
        row.prepare()


def measure(rows: list[Row], seconds: int | None, rounds: int) -> dict[tuple[Row, Side], list[float]]:
    """All figures. A slow minute of the machine touches every peer of a row alike."""
    figures = defaultdict(list)
    HOME.mkdir(parents=True, exist_ok=True)
    for row in rows:
        turns = rounds * row.turns
        for number in range(1, turns + 1):
            # Forwards and backwards, so that nobody always comes after the same one.
            for peer in row.peers if number % 2 else reversed(row.peers):
                with tempfile.TemporaryDirectory(prefix="campaign-", dir=HOME) as folder:
                    figure = row.once(peer, seconds or row.seconds, number, Path(folder))
                figures[row, peer].append(figure)
                shown = f"{peer.name:13} {report.rounded(figure):>12} {row.unit}"
                print(f"{row.name}, {number} of {turns}: {shown}", flush=True)
    return figures


def loaded() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
