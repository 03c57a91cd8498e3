"""Targets and campaigns, built and run once, on all cores, for all tests that were collected."""

import os

import pytest

from identity import runs as table_runs
from identity.runs import Runs
from identity.targets import Built

# What a run of this folder's tests counted, for the summary.
COUNTED = pytest.StashKey[list]()


@pytest.fixture(scope="session")
def identity_built(tmp_path_factory) -> Built:
    """Targets, built when they are first asked for."""
    return Built(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="session")
def table_of_runs(request, identity_built, tmp_path_factory) -> Runs:
    """The campaigns of all cells that were collected."""
    made = Runs(identity_built, tmp_path_factory.mktemp("campaigns"))
    items = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    cells = [(params["target"], params["row"].campaign) for params in items if {"target", "row"} <= params.keys()]
    campaigns = [(params["target"], params["kind"]) for params in items if {"target", "kind"} <= params.keys()]
    made.all([*cells, *campaigns], os.cpu_count() or 1)
    return made


@pytest.fixture(scope="session")
def counted(request) -> list:
    """Cells that were judged."""
    return request.config.stash.setdefault(COUNTED, [])


def pytest_terminal_summary(terminalreporter, config):
    if cells := config.stash.get(COUNTED, []):
        terminalreporter.write_line(f"table of identity: {table_runs.count(cells)}")
