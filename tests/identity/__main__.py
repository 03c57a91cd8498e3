"""Runs the table and prints its counts: `cd tests && python -m identity [WORD...] [--keep FOLDER] [--show]`.

WORDs choose targets by their names, such as `pybind-stripped`, `capi` or `asan`; all, when there is none.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import hitmap
from identity import runs, table
from identity.targets import HERE, Built


# Python files that decide what is built.
CODE = ("targets.py", "python_side.py", "variants.py", "wrapper.py")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m identity", description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="targets whose names have one of these words")
    kept = "leave builds and campaigns there; what is built is not built again"
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help=kept)
    parser.add_argument("--row", metavar="WORDS", help="only rows whose names have these words")
    parser.add_argument("--show", action="store_true", help="what is wrong, cell by cell")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        return count(options, folder)


def count(options, folder: Path) -> int:
    chosen = [each for each in table.campaigns() if is_chosen(each[0], options.words)]
    shutil.rmtree(folder / "campaigns", ignore_errors=True)
    work = runs.Runs(Built(folder / f"built-{digest()}"), folder / "campaigns")
    missing = {target: target.missing for target, _ in chosen if target.missing}
    for target, why in missing.items():
        print(f"left out: {target}: {why}")
    work.all(chosen, os.cpu_count() or 1)
    cells = []
    for row, target in table.cells():
        if target in missing or (target, row.campaign) not in work.done or (options.row or "") not in row.name:
            continue
        try:
            cells.append(work.cell(row, target))
        except Exception as failure:
            cells.append(runs.Cell(row, target, failed=str(failure)))
    groups = defaultdict(list)
    for cell in cells:
        groups[cell.row.name].append(cell)
        if options.show and cell.wrong:
            print(cell, end="\n\n")
    for name, group in groups.items():
        marks = " ".join(f"{cell.target}{'' if not cell.wrong else ':' + letters(cell)}" for cell in group)
        print(f"{sum(not cell.wrong for cell in group):2} of {len(group):2}  {name}: {marks}")
    print(runs.count(cells))
    return 0 if all(not cell.wrong for cell in cells) else 1


def digest() -> str:
    """Of all that a build is made of, as far as it changes: the sources here, and hitmap's own."""
    package = Path(hitmap.__file__).parent
    files = [path for folder in (HERE, package / "_rt", package / "build") for path in folder.rglob("*")]
    known = hashlib.sha256()
    for path in sorted(files):
        if path.suffix in (".cpp", ".h", ".pyx", ".c", ".ld", ".so") or path.name in CODE:
            known.update(path.read_bytes())
    return known.hexdigest()[:12]


def is_chosen(target, words) -> bool:
    return not words or any(word in str(target) for word in words)


def letters(cell) -> str:
    """M: a bug has no finding of its own, S: it has several, K: wrong kind, N: wrong name, T: two bugs
    have one title, R: said not to reproduce."""
    marks = {"M": cell.merged, "S": cell.split, "K": cell.kinds, "N": cell.names, "T": cell.alike, "R": cell.doubted, "!": cell.failed}
    return "".join(mark for mark, wrong in marks.items() if wrong)


if __name__ == "__main__":
    sys.exit(main())
