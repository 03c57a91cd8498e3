"""One bug is one finding with its own name, two bugs are two: every cell of the table, and the table itself."""

import pytest

from identity import table


@pytest.mark.parametrize(
    ("row", "target"), table.cells(), ids=[f"{row.name.replace(' ', '-')}--{target}" for row, target in table.cells()]
)
def test_a_cell_has_a_finding_for_each_bug(row, target, table_of_runs, counted):
    cell = table_of_runs.cell(row, target)
    counted.append(cell)
    assert not cell.wrong, str(cell)


@pytest.mark.parametrize(("target", "kind"), table.campaigns(), ids=[f"{t}{'-' + k if k else ''}" for t, k in table.campaigns()])
def test_a_campaign_finds_nothing_else(target, kind, table_of_runs, identity_built):
    """What is no bug of the table is no finding: an error that is jumped out of, a call that returns."""
    identity_built.harness(target)
    run = table_of_runs.done[target, kind]
    assert not isinstance(run, Exception), run
    known = {entry for row in table.rows(target, kind) for bug in row.bugs for entry in bug.entries}
    others = [f"{finding.folder.name}: {finding.report['title']}" for name, found in run.found.items() if name not in known
              for finding in found]  # fmt: skip
    assert others == []


def test_every_entry_of_the_table_is_in_the_library():
    """A word that is misspelt would be a bug that is never met."""
    from identity.targets import HERE

    text = "".join(path.read_text() for folder in ("library", "bindings") for path in sorted((HERE / folder).glob("*.*")))
    entries = {entry for row in table.ROWS for bug in row.bugs for entry in bug.entries}
    assert [entry for entry in sorted(entries) if entry not in text] == []


def test_rows_and_their_cells_are_told_apart():
    names = [row.name for row in table.ROWS]
    assert len(names) == len(set(names))
    assert [row.name for row in table.ROWS if not any(row.has(target) for target in table.targets())] == []
