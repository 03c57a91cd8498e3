"""The table, and the file that keeps it together with the machine that it is true of."""

import datetime
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from peers.builder import CLANG
from peers.side import Side
from rows.row import Row

RESULTS = Path(__file__).parent / "results"
# Figures by row and peer, a number a round.
Figures = Mapping[tuple[Row, Side], Sequence[float]]


def table(rows: Sequence[Row], figures: Figures) -> str:
    """A Markdown table, a line for each peer of each row.

    Ratios are taken within a round, where both sides met the same machine; the table has their median.
    """
    lines = [["row", "peer", "unit", "median", "lowest", "highest", "ratio to the last"]]
    for row in rows:
        base = figures[row, row.peers[-1]]
        for peer in row.peers:
            of_rounds = figures[row, peer]
            ratio = statistics.median(ours / theirs for ours, theirs in zip(of_rounds, base, strict=True))
            shown = (statistics.median(of_rounds), min(of_rounds), max(of_rounds))
            numbers = [rounded(number) for number in shown]
            lines.append([row.name, peer.version(), row.unit, *numbers, f"{ratio:.2f}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines) + "\n"


def rounded(figure: float) -> str:
    """Whole numbers, unless they are small."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def record(rows: Sequence[Row], figures: Figures, seconds: float | None, rounds: int, load: str, name: str | None) -> Path:
    """Writes the table, every round's figure and the machine into `results/`."""
    today = datetime.date.today().isoformat()
    path = RESULTS / ("-".join(filter(None, [today, slug(), name])) + ".md")
    about = "".join(
        f"- `{row.name}`: {row.about}; {seconds or row.seconds:g} CPU-seconds a campaign{row.remark(figures)}\n" for row in rows
    )
    each = "".join(
        f"- {row.name}, {peer.version()}: {', '.join(map(rounded, figures[row, peer]))}\n"
        for row in rows
        for peer in row.peers
    )
    names = " ".join(row.name for row in rows)
    options = f"--rounds {rounds}" + (f" --seconds {seconds:g}" if seconds else "")
    text = f"""# {today}

{rounds} rounds for each peer, in turns, one worker: `benches/run.py {names} {options}`.

{table(rows, figures)}
{about}
## Machine
{machine(load)}
## Rounds
{each}"""
    RESULTS.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def slug() -> str:
    """Processor and cores, as part of a file's name."""
    name = re.sub(r"\(.*?\)|\b(cpu|processor|core)\b|@.*", " ", processor().lower())
    return "-".join([*re.findall(r"[a-z0-9]+", name), f"{os.cpu_count()}-cores"])


def machine(load: str) -> str:
    """What the figures depend on, a line each."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    facts = {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "Python": platform.python_version(),
        "compiler": first_line(CLANG, "--version"),
        "hitmap": commit(),
        "load average before and after": load,
    }
    return "".join(f"- {name}: {fact}\n" for name, fact in facts.items())


def processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def commit() -> str:
    """The commit that was measured, as far as git knows."""
    root = Path(__file__).parent
    head = first_line("git", "-C", str(root), "rev-parse", "--short", "HEAD")
    changed = first_line("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return f"{head}, with changes" if changed else head


def first_line(*command: str) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return run.stdout.partition("\n")[0]
