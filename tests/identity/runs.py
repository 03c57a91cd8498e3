"""One campaign for each target, and what came of each cell of it.

A campaign starts with every input of every row that its target has, so all bugs of a build are met in one campaign, as
in a user's. Which bug a finding is of stands in its input.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from campaign import Campaign, Ended, Finding, Hitmap
from identity import table
from identity.table import Bug, Row
from identity.targets import Built, Target

# Time-outs are waited for, each at least twice; where none is expected, the limit is out of the way.
FLAGS = {"": ["-t", 5000, "-m", 64], "hang": ["-t", 250, "-m", 64]}
HARMLESS = b"jumps_back 0 0 0 1"


@dataclass
class Run:
    """A campaign that is over."""

    target: Target
    kind: str
    campaign: Campaign
    ended: Ended
    # Findings by the first word of their inputs.
    found: dict[str, list[Finding]] = field(default_factory=dict)


@dataclass
class Cell:
    """What is wrong with one row under one target; nothing, when all lists are empty."""

    row: Row
    target: Target
    merged: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    failed: str = ""
    # For people: what was found of each bug.
    found: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        lists = (self.merged, self.split, self.kinds, self.names, self.alike, self.doubted)
        return [each for some in lists for each in some] + ([self.failed] if self.failed else [])

    def __str__(self) -> str:
        return "\n".join([f"{self.row.name} × {self.target}: {self.row.about}", *self.wrong, "found:", *self.found])


def start(built: Built, folder: Path, target: Target, kind: str = "") -> Run:
    """Runs the campaign of a target in `folder`, which is made."""
    harness = built.harness(target)
    seeds = folder / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    inputs = [HARMLESS, *(data for row in table.rows(target, kind) for bug in row.bugs for data in bug.inputs)]
    for number, data in enumerate(inputs):
        (seeds / f"{number:04}").write_bytes(data)
    # Runs that confirm count too. What is left goes to mutants of the harmless one, which are so without tokens.
    budget = 3 * len(inputs)
    sanitizer = [f"--{target.way}"] if target.way in ("asan", "ubsan") else []
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "ASAN_OPTIONS": "detect_leaks=0"}
    hitmap = Hitmap(folder, environment)
    out = Campaign(folder / "out")
    budgets = ["--seed", 1, "--max-execs", budget, "--no-auto-tokens"]
    run = Run(target, kind, out, hitmap("fuzz", harness, "-i", seeds, "-o", out.folder, *budgets, *FLAGS[kind], *sanitizer))
    for finding in out.findings:
        name = finding.input.read_bytes().split(b" ")[0].decode(errors="replace")
        run.found.setdefault(name, []).append(finding)
    return run


def judge(run: Run, row: Row) -> Cell:
    """Compares what a campaign found of a row with what the row says."""
    cell = Cell(row, run.target)
    if run.ended.code != 1 or "Traceback" in run.ended.err:
        cell.failed = f"the campaign ended with code {run.ended.code}:\n{run.ended.said[-3000:]}"
    titles: dict[str, str] = {}
    for bug in row.bugs:
        found = [finding for entry in bug.entries for finding in run.found.get(entry, [])]
        if not found:
            cell.merged.append(f"{bug.name}: no finding of its own")
        if len(found) > 1:
            cell.split.append(f"{bug.name}: {len(found)} findings")
        for finding in found:
            compare(cell, bug, finding)
            report = finding.report
            other = titles.setdefault(report["title"], bug.name)
            if other != bug.name:
                cell.alike.append(f"{bug.name}: has the title of {other}: {report['title']!r}")
            cell.found.append(f"  {bug.name}: {finding.folder.name} {report['title']!r} of {finding.input.read_bytes()!r}")
    return cell


def compare(cell: Cell, bug: Bug, finding: Finding) -> None:
    report = finding.report
    if report["kind"] not in bug.kinds:
        cell.kinds.append(f"{bug.name}: is {report['kind']}, and should be {' or '.join(bug.kinds)}")
    title = report["title"]
    words = [*bug.words, *(bug.functions if cell.target.named else [])]
    # Without names there is the library's, to go by.
    if not cell.target.named and bug.functions:
        words.append(cell.target.binding if cell.target.binding != "ctypes" else "libplain")
    missing = [word for word in words if word not in title]
    if missing:
        cell.names.append(f"{bug.name}: the title {title!r} lacks {' '.join(missing)}")
    if there := [word for word in bug.never if word in title]:
        cell.names.append(f"{bug.name}: the title {title!r} has {' '.join(there)}")
    if not report["reproduces"]:
        cell.doubted.append(f"{bug.name}: said not to reproduce")


class Runs:
    """Campaigns, each run once, when the first of its cells is asked for."""

    def __init__(self, built: Built, folder: Path):
        self.built = built
        self.folder = folder
        self.done: dict[tuple[Target, str], Run | Exception] = {}

    def all(self, wanted: list[tuple[Target, str]], cores: int) -> None:
        """Builds and runs what is wanted, on as many cores."""
        wanted = [each for each in dict.fromkeys(wanted) if each not in self.done and not each[0].missing]
        self.built.all(list(dict.fromkeys(target for target, _ in wanted)))
        with ThreadPoolExecutor(cores) as pool:
            self.done.update(zip(wanted, pool.map(self.tried, wanted), strict=True))

    def tried(self, wanted: tuple[Target, str]) -> Run | Exception:
        target, kind = wanted
        try:
            return start(self.built, self.folder / f"{target}{'-' + kind if kind else ''}", target, kind)
        except Exception as failure:
            return failure

    def cell(self, row: Row, target: Target) -> Cell:
        """Skips where the target cannot be built here; raises where building or running failed."""
        self.built.harness(target)
        run = self.done[target, row.campaign]
        if isinstance(run, Exception):
            raise run
        return judge(run, row)


def count(cells: list[Cell]) -> str:
    """The table in one line."""
    right = sum(not cell.wrong for cell in cells)
    wrong = Counter()
    for cell in cells:
        for kind in ("merged", "split", "kinds", "names", "alike", "doubted"):
            wrong[kind] += len(getattr(cell, kind))
    return (
        f"{len(cells)} cells: {right} right, {len(cells) - right} wrong; "
        f"bugs without a finding of their own: {wrong['merged']}, "
        f"bugs with several: {wrong['split']}, wrong kind: {wrong['kinds']}, wrong name: {wrong['names']}, "
        f"one title for two: {wrong['alike']}, "
        f"said not to reproduce: {wrong['doubted']}"
    )
