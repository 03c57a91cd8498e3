"""A campaign folder: what is in it, and that nothing in it is lost.

Executions are the only clock. Where a test must meet a campaign in mid-run, it gives no budget, waits for a fact in
the folder, and ends it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from campaign import PLOT_HEADER, STATS_KEYS, Campaign, contents, until

DOTS = b"........"


@pytest.fixture
def fuzz(built, hitmap_, seeds, out):
    """Runs a campaign on a puzzle in `out`, from one seed input, with one worker."""
    folder = seeds(DOTS)

    def run(name: str, execs: int, *flags, into: Campaign = out, seed: int = 1):
        return hitmap_(
            "fuzz", built.harness(name), "-i", folder, "-o", into.folder,
            "--max-execs", execs, "--seed", seed, *(flags if "-j" in flags else ("-j", 1, *flags)),
        )  # fmt: skip

    return run


@pytest.fixture
def fuzzing(built, hitmap_, seeds, out):
    """Starts a campaign without a budget."""
    folder = seeds(DOTS)

    def start(name: str, *flags):
        return hitmap_.start("fuzz", built.harness(name), "-i", folder, "-o", out.folder, "--seed", 1, *flags)

    return start


# What lies where.


def test_the_folder_is_laid_out_as_documented(fuzz, out):
    assert fuzz("abort_mid_batch", 20_000).code == 1
    json.loads((out.folder / "campaign.json").read_text())
    assert (out.folder / "coverage.hitmap").stat().st_size > 0
    [worker] = out.workers
    for name in ("queue", "crashes", "hangs"):
        assert (worker / name).is_dir(), name
    for name in ("fuzzer_stats", "plot_data", "fuzzer_setup", "cmdline", "coverage.hitmap", "features.hitmap"):
        assert (worker / name).is_file(), name
    for finding in out.findings:
        for name in ("input", "report.json", "traceback.txt", "coverage.hitmap"):
            assert (finding.folder / name).is_file(), name
        assert (finding.folder / f"test_{finding.report['signature']}.py").is_file()
    assert not (out.folder / "queue").exists(), "afl-whatsup takes a queue at the top for a worker"


def test_no_temporary_file_is_left(fuzz, out):
    fuzz("abort_mid_batch", 20_000)
    names = [os.path.basename(path) for path in contents(out.folder)]
    assert [name for name in names if name.startswith(".") or name.endswith(("~", ".tmp", ".part", ".new"))] == []


def test_queue_and_crashes_have_the_names_that_afl_tools_read(fuzz, out):
    fuzz("abort_mid_batch", 20_000)
    [worker] = out.workers
    queue = sorted(path.name for path in (worker / "queue").glob("id:*"))
    assert [name[:9] for name in queue] == [f"id:{n:06}" for n in range(len(queue))]
    assert len(queue) == out.count("corpus_count")
    assert "orig:seed0" in queue[0]
    assert all(",src:" in name and ",op:" in name for name in queue[1:]), queue
    crashes = [path.name for path in (worker / "crashes").glob("id:*")]
    assert crashes
    assert all("sig:" in name for name in crashes), crashes


def test_hangs_lie_in_hangs(fuzz, out):
    fuzz("hang_loop", 6_000, "-t", 200)
    [worker] = out.workers
    assert list((worker / "hangs").glob("id:*"))
    assert not list((worker / "crashes").glob("id:*"))


def test_fuzzer_stats_has_the_keys_of_afl(fuzz, out):
    fuzz("coverage_only", 5_000)
    stats = out.stats()
    assert [key for key in STATS_KEYS if key not in stats] == []
    lines = (out.workers[0] / "fuzzer_stats").read_text().splitlines()
    assert all(line[18:20] == ": " for line in lines), "keys are padded to 18"
    assert int(stats["execs_done"]) >= 5_000
    assert 0 < int(stats["edges_found"]) <= int(stats["total_edges"])


def test_plot_data_has_the_header_of_afl(fuzz, out):
    fuzz("coverage_only", 5_000)
    header, *rows = (out.workers[0] / "plot_data").read_text().splitlines()
    assert header == PLOT_HEADER
    assert rows
    columns = [[field.strip() for field in row.split(",")] for row in rows]
    assert {len(row) for row in columns} == {len(PLOT_HEADER.split(","))}
    assert columns[-1][12] == out.stats()["edges_found"]
    assert columns[-1][11] == out.stats()["execs_done"]


def test_a_shell_can_source_fuzzer_stats_as_afl_whatsup_does(fuzz, out):
    fuzz("coverage_only", 5_000)
    # afl-whatsup's own translation: the banner and the command line are dropped, the rest become variables.
    script = r"""
        eval "$(sed 's/^command_line.*$/_skip:1/;s/[ ]*:[ ]*/="/;s/$/"/' "$1")"
        echo $execs_done $corpus_count $cycles_wo_finds $saved_crashes $saved_hangs $bitmap_cvg $last_find
    """
    run = subprocess.run(["sh", "-euc", script, "sh", out.workers[0] / "fuzzer_stats"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    assert len(run.stdout.split()) == 7, run.stdout


def test_a_finding_keeps_the_input_that_caused_it(fuzz, out):
    fuzz("many_signals", 20_000)
    letters = {"divides": b"d", "traps": b"t", "reads": b"r"}
    numbers = {"divides": signal.SIGFPE, "traps": signal.SIGILL, "reads": signal.SIGSEGV}
    assert len(out.findings) == 3
    for finding in out.findings:
        [name] = [name for name in letters if any(name in function for function in finding.functions)]
        assert finding.input.read_bytes()[:1] == letters[name]
        assert finding.report["signal"] == numbers[name]


def test_frames_name_source_lines(fuzz, out):
    fuzz("many_signals", 20_000)
    for finding in out.findings:
        own = [frame for frame in finding.report["frames"] if (frame["file"] or "").endswith("many_signals.cpp")]
        assert own, finding.report["frames"]
        assert all(frame["line"] > 0 for frame in own)
        assert all("many_signals" in frame["module"] for frame in own)


def test_a_signal_report_has_the_python_stack(fuzz, out):
    fuzz("many_signals", 20_000)
    for finding in out.findings:
        assert "many_signals_harness.py" in json.dumps(finding.report["python_frames"])
        assert "many_signals_harness.py" in (finding.folder / "traceback.txt").read_text()


def test_titles_are_one_short_line_whatever_an_exception_says(fuzz, out, built, tmp_path):
    """Texts of exceptions hold what the input held: escapes for the terminal, line ends, quotes, megabytes."""
    built.harness("coverage_only")
    harness = tmp_path / "odd.py"
    harness.write_text(
        """\
import hitmap
import coverage_only

TEXTS = {b"0": "\\udcff\\x00\\x1b[31m", b"1": "x" * 5_000_000, b"2": 'two\\nlines \"\"\" \\\\', b"3": ""}


@hitmap.harness
def run(data):
    coverage_only.run(data)
    if data[:1] in TEXTS:
        raise type("Odd" + data[:1].decode(), (Exception,), {})(TEXTS[data[:1]])
"""
    )
    ended = fuzz(harness, 20_000)
    assert out.kinds == ("exception",) * 4, ended.said
    assert "\x1b" not in ended.said and "\0" not in ended.said
    for finding in out.findings:
        title = finding.report["title"]
        assert title.isprintable() and len(title) <= 500, title[:1000]
        assert finding.report["python_frames"], title
        [test] = finding.folder.glob("test_*.py")
        compile(test.read_bytes(), test.name, "exec")


def test_the_campaign_ends_with_a_summary(fuzz, out):
    said = fuzz("many_signals", 20_000).said
    for finding in out.findings:
        assert finding.report["signature"] in said
    assert "hitmap replay" in said
    assert "edges" in said


# The same decisions.


@pytest.mark.parametrize(("name", "execs"), [("nested_compares", 60_000), ("compares_strings", 20_000)])
def test_same_seed_same_queue(name, execs, fuzz, out, tmp_path):
    again, other = Campaign(tmp_path / "again"), Campaign(tmp_path / "other")
    fuzz(name, execs)
    fuzz(name, execs, into=again)
    fuzz(name, execs, into=other, seed=2)
    assert timeless(out) == timeless(again)
    assert timeless(out) != timeless(other)


def test_crashes_do_not_change_decisions(fuzz, out, tmp_path):
    again = Campaign(tmp_path / "again")
    fuzz("abort_mid_batch", 60_000)
    fuzz("abort_mid_batch", 60_000, into=again)
    assert timeless(out) == timeless(again)
    assert [f.folder.name for f in out.findings] == [f.folder.name for f in again.findings]


def timeless(campaign: Campaign) -> dict[str, bytes]:
    """The queue, with `time:` taken out of the names: the one field that a clock wrote."""
    return {
        ",".join(field for field in name.split(",") if not field.startswith("time:")): data
        for name, data in campaign.queue().items()
    }


# Going on.


def test_resuming_keeps_queue_findings_and_counts(fuzz, out):
    fuzz("abort_mid_batch", 30_000)
    queue, findings, execs = out.queue(), {f.folder.name for f in out.findings}, out.count("execs_done")
    coverage = out.count("edges_found")
    ended = fuzz("abort_mid_batch", 30_000)
    assert ended.code == 1
    assert queue.items() <= out.queue().items()
    assert findings <= {f.folder.name for f in out.findings}
    assert out.count("execs_done") >= execs
    assert out.count("edges_found") >= coverage
    rows = (out.workers[0] / "plot_data").read_text().splitlines()
    assert sum(row.startswith("#") for row in rows) == 1, "the timeline goes on under its one header"
    times = [int(row.split(",")[0]) for row in rows[1:]]
    assert times == sorted(times)


def test_resuming_does_not_execute_what_is_known(fuzz, out, built, tmp_path):
    """The harness itself writes down what it is given, in an order that no one can argue with."""
    log = tmp_path / "executed"
    built.harness("coverage_only")
    harness = tmp_path / "logged.py"
    harness.write_text(f"""\
import os
import hitmap
import coverage_only

log = os.open({str(log)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@hitmap.harness
def run(data):
    os.write(log, data.hex().encode() + b"\\n")
    coverage_only.run(data)
""")
    fuzz(harness, 20_000)
    known = {data.hex() for data in out.queue().values()}
    assert len(known) >= 16
    log.unlink()
    fuzz(harness, 20_000)
    first = log.read_text().split("\n")[: 2 * len(known)]
    # Havoc may make a known input again, now and then; replaying the queue would be all of it.
    assert len(known & set(first)) < len(known) / 2


def test_a_budget_is_one_session_s_and_counts_add_up(fuzz, out):
    for session in (1, 2, 3):
        fuzz("coverage_only", 10_000)
        assert out.count("execs_done") == session * 10_000


def test_known_findings_still_count_for_the_exit_code(fuzz, out):
    assert fuzz("many_signals", 20_000).code == 1
    assert fuzz("many_signals", 500).code == 1
    assert len(out.findings) == 3


# Being stopped.


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(fuzzing, fuzz, out):
    with fuzzing("coverage_only") as running:
        until(lambda: out.count("execs_done") > 0, "the first executions")
        running.signal(signal.SIGINT)
        ended = running.end()
        until(lambda: not running.alive(), "every process of the run to end")
    assert ended.code == 2, ended.said
    assert "hitmap fuzz" in ended.said and str(out.folder) in ended.said, "it says how to go on"
    assert "Traceback" not in ended.said and "KeyboardInterrupt" not in ended.said
    assert (out.folder / "coverage.hitmap").exists()
    queue, execs = out.queue(), out.count("execs_done")
    fuzz("coverage_only", 1_000)
    assert queue.items() <= out.queue().items()
    assert out.count("execs_done") > execs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_being_stopped_while_engines_start_is_no_failure(fuzzing, number):
    """A terminal, or who ends a job, tells every process of the group, whatever that process is just importing."""
    with fuzzing("coverage_only", "-j", 2) as running:
        until(lambda: len(running.alive()) > 1, "a second process")
        running.signal(number)
        ended = running.end()
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said and "KeyboardInterrupt" not in ended.said, ended.said


def test_a_folder_has_one_session_at_a_time(fuzzing, fuzz, out):
    with fuzzing("long_way") as running:
        until(lambda: out.count("execs_done") > 0, "the first executions")
        ended = fuzz("long_way", 1_000)
        assert ended.code in (3, 4), ended.said
        assert "stop" in ended.err, "it says what to do"
        running.signal(signal.SIGINT)
        assert running.end().code == 2, "the first one goes on"


def test_sigterm_stops_as_ctrl_c_does(fuzzing, out):
    with fuzzing("coverage_only") as running:
        until(lambda: out.count("execs_done") > 0, "the first executions")
        running.process.send_signal(signal.SIGTERM)
        ended = running.end()
        until(lambda: not running.alive(), "every process of the run to end")
    assert ended.code == 2, ended.said
    assert (out.folder / "coverage.hitmap").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_of_everything_loses_no_finding_and_no_entry(fuzzing, fuzz, out, workers):
    with fuzzing("many_signals", "-j", workers) as running:
        until(lambda: len(reported(out)) == 3, "the findings")
        running.kill()
    findings = contents(out.folder / "findings")
    queues = [out.queue(worker) for worker in range(len(out.workers))]
    assert all(json.loads(data) for name, data in findings.items() if name.endswith("report.json"))
    ended = fuzz("many_signals", 20_000, "-j", workers)
    assert ended.code == 1, ended.said
    assert findings.items() <= contents(out.folder / "findings").items()
    for worker, queue in enumerate(queues):
        assert queue.items() <= out.queue(worker).items()
    assert len(out.findings) == 3, "and finds nothing twice"


def test_kill_9_of_the_engine_ends_its_workers(fuzzing, out):
    with fuzzing("coverage_only", "-j", 2) as running:
        until(lambda: len(out.workers) == 2 and out.count("execs_done") > 0, "two workers")
        running.process.kill()
        until(lambda: not running.alive(), "servers and children to end with their engine")


def test_kill_9_of_a_child_or_a_server_does_not_end_the_campaign(fuzzing, out):
    with fuzzing("coverage_only") as running:
        until(lambda: out.count("execs_done") > 0, "the first executions")
        # Everything that is not the process we started.
        for pid in running.alive():
            if pid != running.process.pid:
                # One may take another with it, and children come and go.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        before = out.count("execs_done")
        until(lambda: out.count("execs_done") > before + 1_000, "the campaign to go on")
        running.signal(signal.SIGINT)
        assert running.end().code == 2


def reported(campaign: Campaign) -> list:
    return list((campaign.folder / "findings").glob("*/report.json"))


# Several workers.


def test_two_workers_exchange_what_they_find(fuzzing, out):
    with fuzzing("long_way", "-j", 2) as running:
        until(lambda: out.count("corpus_imported") > 0, "one to take over what the other found")
        running.signal(signal.SIGINT)
        assert running.end().code == 2
    assert len(out.workers) == 2
    taken = [(worker, data) for worker in (0, 1) for name, data in out.queue(worker).items() if "sync:" in name]
    assert taken
    for worker, data in taken:
        assert data in out.queue(1 - worker).values()


def test_two_workers_report_a_bug_once(built, hitmap_, seeds, out):
    ended = hitmap_(
        "fuzz", built.harness("many_signals"), "-i", seeds(DOTS), "-o", out.folder,
        "-j", 2, "--seed", 1, "--max-execs", 40_000,
    )  # fmt: skip
    assert ended.code == 1, ended.said
    assert out.kinds == ("signal", "signal", "signal")


# Looking at a finding again.


def test_replay_shows_the_stack_and_exits_1(fuzz, hitmap_, out):
    fuzz("many_signals", 20_000)
    for finding in out.findings:
        ended = hitmap_("replay", finding.input)
        assert ended.code == 1, ended.said
        [name] = [n for n in ("divides", "traps", "reads") if any(n in f for f in finding.functions)]
        assert name in ended.said, "the native stack"
        assert "many_signals_harness.py" in ended.said, "the Python stack"
        assert "Traceback" not in ended.said


def test_replay_of_a_hang_ends_by_itself(fuzz, hitmap_, out):
    fuzz("hang_loop", 6_000, "-t", 200)
    [finding] = out.findings
    ended = hitmap_("replay", finding.input)
    assert ended.code == 1, ended.said
    assert "timeout" in ended.said.lower() or "hang" in ended.said.lower()


def test_replay_of_an_exception_shows_its_traceback(fuzz, hitmap_, out):
    fuzz("exception_unexpected", 20_000)
    said = [hitmap_("replay", finding.input).said for finding in out.findings]
    assert any("KeyError" in text for text in said)
    assert any("RuntimeError" in text and "out of C++" in text for text in said)


def test_replay_of_a_folder_writes_how_coverage_grew(built, hitmap_, tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    # Made from the last name to the first; both are times of a file. The one that dies counts too.
    for number, (name, data) in enumerate([("d", b"."), ("c", b"."), ("b", b"t"), ("a", b"r")]):
        (folder / name).write_bytes(data)
        os.utime(folder / name, (0, 1_000_000_000 + 90.5 * number))
    (folder / "not-a-file").mkdir()
    ended = hitmap_(
        "replay", folder, "--order", "mtime", "--csv", tmp_path / "cov_by_time.txt", "--json",
        "--harness", built.harness("many_signals"),
    )  # fmt: skip
    assert ended.code == 1, ended.said
    assert [Path(json.loads(line)["input"]).name for line in ended.out.splitlines()] == ["d", "c", "b", "a"]
    lines = (tmp_path / "cov_by_time.txt").read_text().splitlines()
    edges = [int(line.split(",")[1]) for line in lines]
    assert lines == [f"{time},{n}," for time, n in zip(["0.00", "90.50", "181.00", "271.50"], edges, strict=True)]
    assert 0 < edges[0] == edges[1] < edges[2] < edges[3]
    ended = hitmap_("replay", folder, "--order", "ctime", "--csv", "c.csv", "--harness", built.harness("many_signals"))
    times = [float(line.split(",")[0]) for line in (tmp_path / "c.csv").read_text().splitlines()]
    assert len(times) == 4 and times[0] == 0 and times == sorted(times)


def test_replay_of_a_harmless_input_exits_0(built, hitmap_, seeds):
    ended = hitmap_("replay", seeds(DOTS) / "seed0", "--harness", built.harness("many_signals"))
    assert ended.code == 0, ended.said


def test_the_replay_command_of_a_report_works_as_it_stands(fuzz, hitmap_, out, built, tmp_path):
    fuzz("exit_in_c", 10_000)
    for finding in out.findings:
        path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        run = subprocess.run(
            finding.report["replay"], shell=True, cwd=tmp_path, env={**built.environment(), "PATH": path},
            capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 1, run.stdout + run.stderr


def test_paths_with_spaces_and_quotes_work_from_end_to_end(hitmap_, built, seeds, tmp_path):
    built.harness("exit_in_c")
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    harness = folder / "my harness.py"
    harness.write_text((built.folder / "exit_in_c_harness.py").read_text())
    campaign = Campaign(folder / "out put")
    ended = hitmap_("fuzz", harness, "-i", seeds(DOTS, name="s e e d s"), "-o", campaign.folder, "--max-execs", 10_000)
    assert ended.code == 1, ended.said
    for finding in campaign.findings:
        run = subprocess.run(
            finding.report["replay"], shell=True, cwd="/", env=built.environment(), capture_output=True, text=True
        )
        assert run.returncode == 1, run.stdout + run.stderr


def test_a_replay_command_works_from_another_folder(hitmap_, built, seeds, tmp_path):
    hitmap_("fuzz", built.harness("exit_in_c"), "-i", seeds(DOTS), "-o", "relative", "--max-execs", 10_000)
    for finding in Campaign(tmp_path / "relative").findings:
        run = subprocess.run(
            finding.report["replay"], shell=True, cwd="/", env=built.environment(), capture_output=True, text=True
        )
        assert run.returncode == 1, run.stdout + run.stderr


def test_the_regression_test_of_a_finding_fails_while_the_bug_is_there(fuzz, out, built):
    fuzz("exception_unexpected", 20_000)
    for finding in out.findings:
        [file] = finding.folder.glob("test_*.py")
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, file.name],
            cwd=finding.folder, env=built.environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 1, run.stdout + run.stderr
        assert "1 failed" in run.stdout


REMEMBERS = """
import os
import hitmap
import coverage_only

calls = 0


@hitmap.harness
def run(data):
    global calls
    calls += 1
    coverage_only.run(data)
    if calls == 2000:
        raise RuntimeError("once")
    if calls == 5000:
        os.abort()
"""


def test_an_entry_that_a_fresh_child_does_not_repeat_is_kept_and_marked(built, hitmap_, seeds, out):
    flags = ["-i", seeds(b"ab"), "-o", out.folder, "--max-execs", 300_000, "--seed", 1, "--child-runs", 200_000]
    ended = hitmap_("fuzz", built.harness("state_drifts"), *flags)
    assert "--child-runs 200000" in ended.out, ended.said
    marked = {path.name for path in out.folder.glob("w0/queue/.state/variable_behavior/*")}
    assert len(marked) == out.count("corpus_variable") > 0
    assert all((out.folder / "w0/queue" / name).is_file() for name in marked)
    assert out.count("children") >= 2


def test_a_finding_that_a_fresh_child_does_not_repeat_is_kept_and_says_so(built, hitmap_, seeds, out, tmp_path):
    built.harness("coverage_only")
    (tmp_path / "remembers.py").write_text(REMEMBERS)
    flags = ["-i", seeds(b"ab"), "-o", out.folder, "--max-execs", 20_000, "--seed", 1]
    ended = hitmap_("fuzz", tmp_path / "remembers.py", *flags)
    assert ended.code == 1 and out.kinds == ("exception", "signal"), ended.said
    assert not any(finding.report["reproduces"] for finding in out.findings)
    assert ended.out.count("did not come back in a fresh process") == 2
