"""What tests share: compiled puzzles, and the command line in a fresh folder."""

import pytest

from campaign import Campaign, Hitmap
from puzzles.build import Built


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory):
    """Campaigns of tests are remembered in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def built(request, tmp_path_factory) -> Built:
    """Compiled puzzles. All that the collected tests name as parameters are built at once, on all cores."""
    built = Built(tmp_path_factory.mktemp("puzzles"))
    items = (getattr(item, "callspec", None) for item in request.session.items)
    wanted = {c.params["puzzle"].name: c.params["puzzle"] for c in items if c and "puzzle" in c.params}
    built.all(list(wanted.values()))
    return built


@pytest.fixture
def hitmap_(built, tmp_path) -> Hitmap:
    """The command line, run in an empty folder with every built puzzle importable."""
    return Hitmap(tmp_path, built.environment())


@pytest.fixture
def seeds(tmp_path):
    """Writes initial inputs to a folder."""

    def write(*inputs: bytes, name="seeds"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for number, data in enumerate(inputs):
            (folder / f"seed{number}").write_bytes(data)
        return folder

    return write


@pytest.fixture
def out(tmp_path) -> Campaign:
    """A campaign folder that does not exist yet."""
    return Campaign(tmp_path / "out")
