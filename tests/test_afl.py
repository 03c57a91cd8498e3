"""A worker serves AFL++, and LibAFL's executor, as their own targets do."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from afl import Fuzzer
from campaign import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples/afl-fuzz"
CRASH = b"maze!\x07"
# A harness that ends as its first byte says; what is new to it goes through the puzzle.
HARNESS = """\
import os, sys
import hitmap
import nested_compares

@hitmap.harness(expected=(ValueError,))
def run(data):
    nested_compares.run(data)
    match data[:1]:
        case b"r": raise ValueError("no")
        case b"x": raise KeyError("unexpected")
        case b"e": sys.exit(3)
        case b"q": os._exit(7)
        case b"f": os.fork()
        case b"c": os.closerange(3, 1000)
        case b"h":
            while True: pass
"""


@pytest.fixture
def harness(built, tmp_path):
    built.harness("nested_compares")
    path = tmp_path / "harness.py"
    path.write_text(HARNESS)
    return path


@pytest.fixture
def fuzzer(built, harness, tmp_path):
    """Starts workers; each ends with the test."""
    started = []

    def start(version=0, way="shared", greet=True, which=harness, **more):
        one = Fuzzer(which, tmp_path, built.environment(), version, way, **more)
        started.append(one)
        assert not greet or one.greet(), one.said.read_text()
        return one

    yield start
    for one in started:
        one.__exit__()


@pytest.mark.parametrize("way", ["shared", "file", "stream"])
@pytest.mark.parametrize("version", [0, 1])
def test_both_versions_run_inputs_whichever_way_they_come(fuzzer, built, version, way):
    one = fuzzer(version, way)
    assert one.size == 1 + built.edges("nested_compares")
    seen = []
    for data in (b"", b"........", b"mazy....", b"ma", b"maz....."):
        assert one.run(data) == 0
        seen.append(one.touched())
    assert all(touched[0] == 1 and max(touched) < one.size for touched in seen)
    # A longer way in, a shorter input after it: what was touched is each input's own.
    short, wrong, long_way, shorter, same_way = seen
    assert short == shorter != wrong != long_way == same_way


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"fine", 0),
        (b"r", 0),
        (b"x", signal.SIGUSR1),
        (b"e", 3 << 8),
        (b"q", 7 << 8),
        (b"f", 0),
        (b"c", 3 << 8),
        (CRASH, signal.SIGABRT),
    ],
)
def test_an_outcome_has_its_status_and_its_coverage(fuzzer, data, status):
    one = fuzzer()
    one.run(b"warm....")
    warm = one.touched()
    assert one.run(data) == status
    assert len(one.touched()) > 1
    assert one.run(b"warm....") == 0
    assert one.touched() == warm


def test_a_crash_has_the_edges_that_led_there(fuzzer):
    one = fuzzer()
    one.run(b"maze!.")
    before = one.touched()
    one.run(CRASH)
    assert set(one.touched()) - set(before), "the last compare opens an edge"


def test_an_exception_costs_no_child_and_a_crash_costs_one(fuzzer):
    one = fuzzer()
    pids = []
    for data in (b"x", b"x", b"fine", CRASH, b"fine"):
        pids.append(one.begin(data))
        one.hear()
    assert pids[0] == pids[1] == pids[2] == pids[3] != pids[4]


def test_a_child_makes_room_for_the_next_after_ten_thousand_inputs(fuzzer):
    one = fuzzer()
    pids = set()
    for _ in range(10_001):
        pids.add(one.begin(b"maz....."))
        assert one.hear() == 0
    assert len(pids) == 2
    assert len(one.touched()) > 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_hang_ends_when_the_fuzzer_kills_it(fuzzer, number):
    one = fuzzer()
    pid = one.begin(b"hang")
    one.kill(pid, number)
    assert one.hear() == number
    assert one.run(b"fine....") == 0
    assert len(one.touched()) > 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_kill_that_came_after_the_answer_costs_a_child_and_no_run(fuzzer, number):
    one = fuzzer()
    pid = one.begin(b"fine")
    assert one.hear() == 0
    one.kill(pid, number)
    assert one.begin(b"fine") != pid
    assert one.hear() == 0


def test_a_fuzzer_that_takes_up_no_shared_memory_is_served_from_the_stream(fuzzer):
    one = fuzzer(way="shared", greet=False)
    one.hear()
    # An old AFL answers nothing, and asks for its first run.
    one.way = "file"
    assert one.run(b"") == 0


def test_the_worker_ends_with_the_fuzzer(fuzzer):
    one = fuzzer()
    one.run(b"fine")
    one.begin(b"hang")
    one.leave()
    assert one.worker.wait(PATIENCE) == 0
    assert one.said.read_text() == ""


def test_a_map_that_is_too_small_is_refused_with_the_size_that_is_needed(fuzzer):
    one = fuzzer(room=8)
    assert one.begin(b"fine") is None
    assert one.worker.wait(PATIENCE) == 3
    assert f"AFL_MAP_SIZE={one.size}" in one.said.read_text()


def test_a_library_that_comes_late_has_no_place_and_is_named(fuzzer, built, tmp_path):
    built.harness("nested_compares")
    built.harness("late_import")
    own = tmp_path / "late.py"
    own.write_text(
        "import hitmap, nested_compares\n\n@hitmap.harness\ndef run(data):\n"
        "    nested_compares.run(data)\n    import late_import\n    late_import.run(data)\n"
    )
    one = fuzzer(which=own)
    for _ in range(3):
        assert one.run(b"maz.....") == 0
        assert max(one.touched()) < one.size
    [line] = one.said.read_text().splitlines()
    assert "late_import" in line and "top of the harness" in line


def test_a_client_of_the_old_protocol_is_told_how_to_get_it(fuzzer):
    one = fuzzer(version=1, greet=False)
    one.hear()
    one.say(0)
    assert one.hear() is None
    assert one.worker.wait(PATIENCE) == 3
    assert "AFL_OLD_FORKSERVER=1" in one.said.read_text()


def by_hand(built, cwd, *arguments, stdin=b"", **variables):
    return subprocess.run(
        [sys.executable, "-m", "hitmap.worker", *map(str, arguments)],
        env={**built.environment(), **variables}, input=stdin, capture_output=True, cwd=cwd, timeout=PATIENCE,
    )  # fmt: skip


def test_started_by_hand_it_says_what_a_fuzzer_would_find(built, harness, tmp_path):
    run = by_hand(built, tmp_path, harness.name)
    said = run.stdout.decode()
    assert run.returncode == 0, run.stderr
    assert f"AFL_MAP_SIZE={1 + built.edges('nested_compares')}" in said and "afl-fuzz -i" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import hitmap\n@hitmap.harness\ndef one(data): pass\n", "no instrumented library"),
        ("import nested_compares\n", "@hitmap.harness"),
        ("import no_such_module\n", "no_such_module"),
        ("import hitmap, nested_compares\n@hitmap.harness\ndef a(d): 0\n@hitmap.harness\ndef b(d): 0\n", "a, b"),
        (None, "no such file"),
    ],
)
@pytest.mark.parametrize("under_a_fuzzer", [False, True])
def test_a_harness_that_cannot_be_fuzzed_gets_a_sentence(built, fuzzer, tmp_path, text, says, under_a_fuzzer):
    built.harness("nested_compares")
    path = tmp_path / "wrong.py"
    if text is not None:
        path.write_text(text)
    if under_a_fuzzer:
        one = fuzzer(which=path, greet=False)
        assert not one.greet()
        code, said = one.worker.wait(PATIENCE), one.said.read_text()
    else:
        run = by_hand(built, tmp_path, path)
        code, said = run.returncode, run.stderr.decode()
    assert code == 4
    assert says in said and str(path) in said


@pytest.mark.parametrize(("variable", "value"), [("__AFL_SHM_ID", "no"), ("__AFL_SHM_ID", "-1")])
def test_a_segment_that_is_none_is_named(built, harness, tmp_path, variable, value):
    run = by_hand(built, tmp_path, harness, **{variable: value})
    assert run.returncode == 4
    assert f"{variable}={value}" in run.stderr.decode()


@pytest.mark.parametrize(("data", "code"), [(b"fine", 0), (b"x", -signal.SIGUSR1), (b"e", 3), (CRASH, -signal.SIGABRT)])
def test_without_pipes_one_input_is_run_and_the_worker_ends_like_it(fuzzer, built, harness, tmp_path, data, code):
    one = fuzzer()
    run = by_hand(built, tmp_path, harness, stdin=data, __AFL_SHM_ID=str(one.map.id))
    assert run.returncode == code, run.stderr
    assert len(one.touched()) > 1
    assert ("KeyError" in run.stderr.decode()) == (data == b"x")


def test_the_same_input_has_the_same_map_in_every_child(fuzzer):
    one = fuzzer()
    maps = []
    for _ in range(3):
        one.run(b"maz.....")
        maps.append(one.touched())
        one.run(CRASH)
    assert maps[0] == maps[1] == maps[2]


# ---- Debian's AFL++ ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example, built by the command in its README."""
    folder = tmp_path_factory.mktemp("example") / "afl-fuzz"
    shutil.copytree(EXAMPLE, folder)
    [command] = [line for line in (EXAMPLE / "README.md").read_text().splitlines() if line.startswith("hitmap-clang++")]
    subprocess.run(command, shell=True, cwd=folder, env=afl_environment(), check=True)
    return folder


def afl_environment():
    """No terminal, no kernel settings of its own, and the tools of this environment first."""
    quiet = ("NO_UI", "NO_AFFINITY", "SKIP_CPUFREQ", "I_DONT_CARE_ABOUT_MISSING_CRASHES", "SKIP_BIN_CHECK", "ALLOW_TMP")
    return {
        **os.environ,
        **{f"AFL_{name}": "1" for name in quiet},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONHASHSEED": "0",
        "AFL_FORKSRV_INIT_TMOUT": str(PATIENCE * 1000),
    }


def tool(name, *arguments, cwd, stdin=b""):
    command = [name, *map(str, arguments), "--", sys.executable, "-m", "hitmap.worker", "icon_harness.py"]
    run = subprocess.run(command, cwd=cwd, env=afl_environment(), input=stdin, capture_output=True, timeout=PATIENCE)
    return run.returncode, (run.stdout + run.stderr).decode(errors="replace")


@pytest.fixture(scope="module")
def campaign(example):
    """What afl-fuzz makes of the example, with a fixed seed and a budget in executions."""
    code, said = tool("afl-fuzz", "-i", "seeds", "-o", "out", "-s", 1, "-t", 10_000, "-E", 50_000, cwd=example)
    assert code == 0, said
    return example / "out/default"


def test_afl_fuzz_finds_the_bug_of_the_example(campaign):
    crashes = [path.name for path in campaign.glob("crashes/id:*")]
    assert crashes and all(",sig:11," in name for name in crashes)


def test_afl_fuzz_sees_coverage_grow(campaign):
    stats = dict(line.split(":", 1) for line in (campaign / "fuzzer_stats").read_text().splitlines())
    stats = {key.strip(): value.strip() for key, value in stats.items()}
    assert int(stats["corpus_found"]) > 5
    assert int(stats["edges_found"]) > 15
    assert stats["saved_hangs"] == "0"


def test_afl_cmin_afl_tmin_and_afl_showmap_work(example, campaign):
    code, said = tool("afl-cmin", "-i", "out/default/queue", "-o", "small", cwd=example)
    assert code == 0, said
    files = [len(list(folder.iterdir())) for folder in (example / "small", campaign / "queue")]
    assert 0 < files[0] <= files[1]

    [crash, *_] = campaign.glob("crashes/id:*")
    code, said = tool("afl-tmin", "-i", crash, "-o", "smaller", cwd=example)
    assert code == 0, said
    small = (example / "smaller").read_bytes()
    assert small[:3] == b"ICO" and len(small) <= crash.stat().st_size

    for name, stdin, dies in (("crash", small, True), ("seed", (example / "seeds/one.ico").read_bytes(), False)):
        code, said = tool("afl-showmap", "-o", name, cwd=example, stdin=stdin)
        assert (code == 2) == dies, said
        assert len((example / name).read_text().splitlines()) > 1


# ---- LibAFL ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embed_forkserver():
    """The example's program."""
    build = ["cargo", "build", "--quiet", "--locked", "-p", "embed-forkserver", "--message-format=json"]
    run = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    [program] = [path for line in run.stdout.splitlines() if (path := json.loads(line).get("executable"))]
    return program


@pytest.mark.parametrize("version", ["old", "one"])
def test_libafls_executor_sees_coverage_grow_and_finds_the_bug(embed_forkserver, example, tmp_path, version):
    environment = {**afl_environment(), **({"AFL_OLD_FORKSERVER": "1"} if version == "old" else {})}
    run = subprocess.run(
        [embed_forkserver, sys.executable, "icon_harness.py", "seeds", tmp_path / "crashes", "100000"],
        cwd=example, env=environment, capture_output=True, text=True, errors="replace", timeout=PATIENCE,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    *grown, last = run.stdout.splitlines()
    edges = [int(line.split()[-2]) for line in grown]
    assert len(edges) > 3 and edges == sorted(edges) and edges[0] < edges[-1]
    assert " 1 crashes" in last
    [crash, *_] = [path for path in (tmp_path / "crashes").iterdir() if not path.name.startswith(".")]
    assert crash.read_bytes()[:3] == b"ICO"
    assert "Segmentation fault" in run.stderr


def test_libafls_executor_reports_a_worker_that_cannot_start(embed_forkserver, example, tmp_path):
    run = subprocess.run(
        [embed_forkserver, sys.executable, "no_harness.py", "seeds", tmp_path / "crashes", "1"],
        cwd=example, env=afl_environment(), capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert run.returncode != 0
    assert "no_harness.py: no such file" in run.stderr
