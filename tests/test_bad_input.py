"""Wrong use gets one clear message that says what to do, exit code 4 (or 3), and leaves nothing behind."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from campaign import HITMAP, PATIENCE, Campaign, Ended, contents

GOOD = """\
import hitmap
import coverage_only


@hitmap.harness
def run(data):
    coverage_only.run(data)
"""


@pytest.fixture
def harness(built, tmp_path):
    """Writes a harness file."""
    built.harness("coverage_only")

    def write(text: str, name: str = "fuzz_it.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def refused(hitmap_, out):
    """Runs `hitmap fuzz` and sees that it refuses as it should."""

    def run(*arguments, says: tuple[str, ...], codes=(4,), into: Campaign = out) -> Ended:
        before = contents(into.folder) if into.folder.exists() else None
        ended = hitmap_("fuzz", *arguments, "-o", into.folder, "--max-execs", 1_000, "-j", 1)
        check_refusal(ended, says, codes)
        after = contents(into.folder) if into.folder.exists() else None
        assert after == before, "nothing is written"
        return ended

    return run


def check_refusal(ended: Ended, says: tuple[str, ...], codes=(4,)) -> None:
    assert ended.code in codes, ended.said
    for word in says:
        assert word.lower() in ended.err.lower(), f"no `{word}` in:\n{ended.err}"
    assert "panicked" not in ended.said, ended.said
    # The traceback of the user's own file is what helps; hitmap's frames in it are not.
    for file in re.findall(r'File "([^"]*)"', ended.said):
        assert "hitmap" not in Path(file).parts and "importlib" not in file, ended.said
    lines = [line for line in ended.err.splitlines() if line.strip()]
    assert 1 <= len(lines) <= 12, f"one message:\n{ended.err}"
    # A message that is printed by two processes, or by an error and its cause, comes twice.
    assert len(lines) == len(set(lines)), ended.err


# The harness.


def test_a_harness_file_that_does_not_exist(refused, tmp_path):
    refused(tmp_path / "nowhere.py", says=("nowhere.py",))


def test_a_harness_that_is_a_folder(refused, tmp_path):
    refused(tmp_path, says=(tmp_path.name,))


def test_a_harness_that_does_not_import_for_want_of_a_module(refused, harness):
    refused(harness("import no_such_module_at_all\n"), says=("fuzz_it.py", "no_such_module_at_all"))


def test_a_harness_that_raises_when_imported_names_the_line(refused, harness):
    refused(harness("import hitmap\n\n1 / 0\n"), says=("fuzz_it.py", "ZeroDivisionError", "line 3"))


def test_a_harness_with_a_syntax_error_names_the_line(refused, harness):
    refused(harness("import hitmap\ndef (:\n"), says=("fuzz_it.py", "line 2"))


def test_a_harness_that_exits_when_imported(refused, harness):
    refused(harness("import sys\nsys.exit(0)\n"), says=("fuzz_it.py",))


def test_a_harness_whose_library_crashes_when_imported(refused, harness):
    refused(harness("import os\nos.abort()\n"), says=("fuzz_it.py",), codes=(3, 4))


def test_a_harness_whose_decorator_is_wrongly_used(refused, harness):
    text = GOOD.replace("@hitmap.harness", '@hitmap.harness(expected="ValueError")')
    refused(harness(text), says=("fuzz_it.py", "line 5", "expected="))


def test_a_file_without_a_harness(refused, harness):
    refused(harness("def run(data):\n    pass\n"), says=("fuzz_it.py", "@hitmap.harness"))


def test_a_file_with_two_harnesses_lists_both(refused, harness):
    two = GOOD + "\n\n@hitmap.harness\ndef other(data):\n    coverage_only.run(data)\n"
    refused(harness(two), says=("run", "other", "fuzz_it.py:"))


def test_a_named_harness_that_is_not_there_lists_those_that_are(refused, harness):
    refused(f"{harness(GOOD)}:missing", says=("missing", "run"))


def test_one_of_two_harnesses_can_be_named(hitmap_, harness, out):
    two = GOOD + "\n\n@hitmap.harness\ndef other(data):\n    coverage_only.run(data)\n"
    ended = hitmap_("fuzz", f"{harness(two)}:other", "-o", out.folder, "--max-execs", 1_000, "-j", 1)
    assert ended.code == 0, ended.said


def test_a_harness_named_like_its_module_works_or_is_told(hitmap_, harness, out):
    """The file must not be imported in place of the library; if it is, the message must say just that."""
    ended = hitmap_("fuzz", harness(GOOD, "coverage_only.py"), "-o", out.folder, "--max-execs", 1_000, "-j", 1)
    if ended.code != 0:
        check_refusal(ended, ("coverage_only.py", "name"))


def test_no_harness_at_all(hitmap_):
    check_refusal(hitmap_("fuzz"), ("HARNESS",))


# What it runs.


def test_an_extension_without_instrumentation(refused, harness, seeds):
    text = "import json\nimport hitmap\n\n\n@hitmap.harness(expected=(ValueError,))\ndef run(data):\n    json.loads(data)\n"
    refused(harness(text), "-i", seeds(b"{}"), says=("instrument", "hitmap build"), codes=(3, 4))


def test_a_late_import_passes_for_instrumented(hitmap_, harness, seeds, out):
    late = (
        "import hitmap\n\n\n@hitmap.harness\ndef run(data):\n    import coverage_only\n\n    coverage_only.run(data)\n"
    )
    ended = hitmap_("fuzz", harness(late), "-i", seeds(b"a"), "-o", out.folder, "--max-execs", 1_000, "-j", 1)
    assert ended.code == 0, ended.said


def test_seeds_that_all_crash_still_start_a_campaign(hitmap_, built, seeds, out):
    ended = hitmap_(
        "fuzz", built.harness("many_signals"), "-i", seeds(b"d", b"t"), "-o", out.folder,
        "--max-execs", 1_000, "-j", 1,
    )  # fmt: skip
    assert ended.code == 1, ended.said
    assert {finding.input.read_bytes() for finding in out.findings} >= {b"d", b"t"}


# Initial inputs, dictionaries, folders.


def test_a_missing_input_folder(refused, harness, tmp_path):
    refused(harness(GOOD), "-i", tmp_path / "no-seeds", says=("no-seeds",))


def test_an_empty_input_folder(refused, harness, seeds):
    refused(harness(GOOD), "-i", seeds(name="bare"), says=("bare",))


def test_an_input_folder_that_is_a_file_is_refused_or_taken_as_one_input(hitmap_, harness, out, tmp_path):
    (tmp_path / "one").write_bytes(b"x")
    ended = hitmap_("fuzz", harness(GOOD), "-i", tmp_path / "one", "-o", out.folder, "--max-execs", 500, "-j", 1)
    if ended.code != 0:
        check_refusal(ended, ("one",))


def test_a_missing_dictionary(refused, harness, tmp_path):
    refused(harness(GOOD), "-x", tmp_path / "no.dict", says=("no.dict",))


def test_a_broken_dictionary_names_the_line(refused, harness, tmp_path):
    (tmp_path / "bad.dict").write_text('# fine\nok="x"\nbroken="no end\n')
    refused(harness(GOOD), "-x", tmp_path / "bad.dict", says=("bad.dict", "line 3"))


def test_a_dictionary_that_is_not_text(refused, harness, tmp_path):
    (tmp_path / "bad.dict").write_bytes(bytes(range(256)) * 4)
    refused(harness(GOOD), "-x", tmp_path / "bad.dict", says=("bad.dict",))


def test_an_out_folder_that_is_no_campaign_is_left_alone(refused, harness, out):
    out.folder.mkdir()
    (out.folder / "thesis.tex").write_text("years of work")
    refused(harness(GOOD), says=("out", "campaign"))


def test_an_empty_out_folder_is_welcome(hitmap_, harness, out):
    out.folder.mkdir()
    ended = hitmap_("fuzz", harness(GOOD), "-o", out.folder, "--max-execs", 1_000, "-j", 1)
    assert ended.code == 0, ended.said


def test_an_out_path_that_is_a_file(refused, harness, tmp_path, hitmap_):
    (tmp_path / "taken").write_text("a file")
    ended = hitmap_("fuzz", harness(GOOD), "-o", tmp_path / "taken", "--max-execs", 1_000, "-j", 1)
    check_refusal(ended, ("taken",))
    assert (tmp_path / "taken").read_text() == "a file"


@pytest.fixture
def campaign(hitmap_, harness, out):
    """A campaign that ran, with the good harness."""
    assert hitmap_("fuzz", harness(GOOD), "-o", out.folder, "--max-execs", 1_000, "-j", 1, "--seed", 1).code == 0
    return out


def test_a_campaign_of_another_harness(refused, harness, campaign):
    refused(harness(GOOD, "another.py"), says=("another.py", "fuzz_it.py", "-o"))


def test_a_campaign_of_another_build(refused, harness, campaign, built, tmp_path):
    """The same harness over a library that was built anew: its edges mean something else now."""
    from puzzles import build, puzzle

    source = tmp_path / "coverage_only.cpp"
    text = (puzzle.FOLDER / "coverage_only.cpp").read_text().replace('"plain.h"', f'"{puzzle.FOLDER / "plain.h"}"')
    source.write_text(text.replace("sink * 31", "sink * 37").replace("BRANCH('f')", ""))
    build.compiled(source, tmp_path / built.module("coverage_only").name)
    text = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n" + GOOD
    refused(harness(text), says=("build",))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 999}', "\0\0\0"])
def test_a_campaign_file_that_is_damaged(refused, harness, campaign, text):
    (campaign.folder / "campaign.json").write_text(text)
    refused(harness(GOOD), says=("campaign.json",), codes=(3, 4))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda b: b[: len(b) // 2], id="cut"),
        pytest.param(lambda b: b[:-1] + bytes([b[-1] ^ 1]), id="flipped"),
        pytest.param(lambda b: b"", id="emptied"),
    ],
)
def test_a_snapshot_that_is_damaged_is_told_and_costs_no_queue_entry(hitmap_, harness, campaign, damage):
    for path in campaign.folder.rglob("*.hitmap"):
        path.write_bytes(damage(path.read_bytes()))
    queue = campaign.queue()
    ended = hitmap_("fuzz", harness(GOOD), "-o", campaign.folder, "--max-execs", 2_000, "-j", 1)
    assert queue.items() <= campaign.queue().items()
    if ended.code != 0:
        check_refusal(ended, (".hitmap",), (3, 4))
    else:
        assert ".hitmap" in ended.err


def test_no_permission_to_write(hitmap_, harness, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    if os.access(locked, os.W_OK):
        # Root may write wherever a file system lets anybody.
        locked = Path("/sys")
    ended = hitmap_("fuzz", harness(GOOD), "-o", locked / "out", "--max-execs", 1_000, "-j", 1)
    check_refusal(ended, (str(locked), "-o"), (3, 4))
    assert not (locked / "out").exists()


# The process that it runs in.


@pytest.fixture
def shell(hitmap_):
    """Runs a line of bash, in which `hitmap` is the command line."""

    def run(line: str, **variables: str) -> Ended:
        environment = {**hitmap_.environment, **variables, "PATH": f"{HITMAP.parent}:{os.environ['PATH']}"}
        ended = subprocess.run(
            ["bash", "-c", line], cwd=hitmap_.cwd, env=environment, capture_output=True, timeout=PATIENCE,
            text=True, errors="replace",
        )  # fmt: skip
        assert "panicked" not in ended.stderr, ended.stderr
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_trouble(shell, harness, out, closed):
    ended = shell(f"hitmap fuzz {harness(GOOD)} -o {out.folder} --max-execs 1000 {closed}")
    assert ended.code == 0, ended.said
    assert out.count("execs_done") >= 1_000


@pytest.mark.parametrize(
    "line",
    [
        "fuzz {harness} -o {out} --max-execs 1000",
        "replay {out}/w0/queue",
        "show {out}",
        "diff {out} {out}",
        "merge -o all.hitmap {out}",
    ],
)
def test_standard_output_on_a_full_disk(shell, harness, campaign, line):
    line = line.format(harness=harness(GOOD), out=campaign.folder)
    check_refusal(shell(f"hitmap {line} >/dev/full"), ("standard output", "No space left"))
    assert shell(f"set -o pipefail; hitmap {line} | true").code in (0, 141), "a reader that is gone has enough"


def test_standard_error_on_a_full_disk_costs_only_the_remarks(shell, harness, out):
    assert shell("hitmap fuzz nowhere.py 2>/dev/full").code == 4
    assert shell(f"hitmap fuzz {harness(GOOD)} -o {out.folder} --max-execs 1000 2>/dev/full").code == 0


@pytest.mark.parametrize("limit", ["-n 12", "-n 8", "-f 4"])
def test_a_limit_of_the_system_is_named(shell, harness, out, limit):
    ended = shell(f"ulimit {limit}; hitmap fuzz {harness(GOOD)} -o {out.folder} --max-execs 1000")
    check_refusal(ended, (f"ulimit {limit[:2]}",))


@pytest.mark.parametrize("limit", range(20_000, 120_000, 10_000))
def test_a_limit_of_memory_is_named_wherever_it_is_met(shell, harness, out, limit):
    ended = shell(f"ulimit -v {limit}; hitmap fuzz {harness(GOOD)} -o {out.folder} --max-execs 1000")
    if ended.code != 0 and "hitmap: " in ended.err:
        check_refusal(ended, ("ulimit -v",), (3, 4))


def test_a_clock_before_1970_is_told(shell, harness, out, tmp_path):
    (tmp_path / "clock.c").write_text(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\n"
        "int clock_gettime(clockid_t id, struct timespec *now) {\n"
        '  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");\n'
        "  int done = real(id, now);\n"
        "  if (id == CLOCK_REALTIME) now->tv_sec -= 4000000000;\n"
        "  return done;\n}\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "clock.so", tmp_path / "clock.c", "-ldl"], check=True)
    check_refusal(shell(f"LD_PRELOAD={tmp_path}/clock.so hitmap fuzz {harness(GOOD)} -o {out.folder}"), ("1970",))


def test_names_that_are_not_utf8_are_told(shell, harness, campaign):
    for line in ("fuzz $'fuzz_\\xff.py'", f"fuzz {harness(GOOD)} -o $'\\xff'"):
        check_refusal(shell(f"cp fuzz_it.py $'fuzz_\\xff.py'; hitmap {line} --max-execs 100"), ("not UTF-8",))


def test_a_campaign_under_a_name_that_is_not_utf8_can_be_read(shell, campaign):
    copied = f"cp -r {campaign.folder} $'\\xff';"
    for line in ("show --json $'\\xff'", "diff --json $'\\xff' out", "merge --json -o $'\\xfe' $'\\xff'",
                 "replay --json $'\\xff'/w0/queue/id:000000*"):  # fmt: skip
        ended = shell(f"{copied} hitmap {line}")
        assert ended.code == 0, ended.said
        json.loads(ended.out)


def test_asserts_of_a_harness_count_whatever_python_is_told(shell, harness, out):
    text = GOOD + "    assert len(data) < 2\n"
    ended = shell(f"hitmap fuzz {harness(text)} -o {out.folder} --max-execs 1000", PYTHONOPTIMIZE="1")
    assert ended.code == 1, ended.said


def test_an_interpreter_that_will_not_do(refused, harness, tmp_path):
    refused(harness(GOOD), "--python", tmp_path / "nowhere", says=("nowhere", "--python"))
    refused(harness(GOOD), "--python", "/bin/true", says=("/bin/true", "--python"))
    refused(harness(GOOD), "--python", "/bin/sh", says=("/bin/sh", "hitmap.worker"))
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} -S -I "$@"\n')
    bare.chmod(0o755)
    refused(harness(GOOD), "--python", bare, says=("has no hitmap", str(bare)))


# Flags.


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--no-such-flag"], "--no-such-flag"),
        (["-j", "0"], "--workers"),
        (["-j", "0"], "for all"),
        (["-j", "many"], "many"),
        (["-t", "0"], "--timeout"),
        (["-t", "soon"], "soon"),
        (["-m", "-5"], "-5"),
        (["--max-time", "later"], "later"),
        (["--seed", "0x"], "0x"),
        (["--map-edges", "0"], "--map-edges"),
        (["--max-len", "0"], "--max-len"),
        (["-x"], "--dict"),
        (["stray"], "stray"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_a_nonsense_flag(refused, harness, flags, word):
    refused(harness(GOOD), *flags, says=(word,))


@pytest.mark.parametrize("late", [False, True])
def test_a_map_that_is_too_small_names_the_module_and_the_size(refused, harness, built, seeds, late):
    """Libraries take whole pages of the map, so three small ones fill the smallest."""
    names = ("coverage_only", "nested_compares", "many_signals")
    imports = [f"import {built.harness(name).stem.removesuffix('_harness')}" for name in names]
    calls = [f"{name}.run(data)" for name in names]
    text = ["import hitmap", *([] if late else imports), "@hitmap.harness", "def run(data):"]
    text += [f"    {line}" for line in [*(imports if late else []), *calls]]
    said = refused(
        harness("\n".join(text)), "-i", seeds(b"x"), "--map-edges", 4096, says=("--map-edges",), codes=(3, 4)
    )
    assert any(name in said.err for name in names)


@pytest.mark.parametrize(
    "flags",
    [
        "{seeds}",
        "{seeds} {seeds}/seed0",
        "-i {seeds} -runs=300",
        "-max_total_time=2",
        "--max_time 2s",
        "--max-time 0h0m2s",
        "-max-time 2",
        "-V 2",
        "-timeout=2 -rss_limit_mb=512 -max_len=64 -seed=3",
        "-t 2s -m 1G --jobs 1",
        "-m none -E 300",
    ],
)
def test_what_people_type_is_done(hitmap_, harness, seeds, out, flags):
    words = flags.format(seeds=seeds(b"a")).split()
    budget = [] if any(word in flags for word in ("runs", "-E")) else ["--max-execs", 1_000]
    ended = hitmap_("fuzz", harness(GOOD), *words, "-o", out.folder, *budget)
    assert ended.code == 0, ended.said
    assert 300 <= out.count("execs_done") <= 1_100
    assert sorted(path.name for path in out.folder.parent.iterdir() if path.name.startswith("ut")) == []


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("plot out", "afl-plot"),
        ("status out", "hitmap show"),
        ("resume out", "-o OUT"),
        ("cmin -i a -o b", "-i"),
        ("fuzz_it.py -o out", "hitmap fuzz fuzz_it.py"),
        ("fuzz fuzz_it.py -artifact_prefix=x/", "-o OUT"),
        ("fuzz fuzz_it.py -print_final_stats=1", "leave it out"),
        ("fuzz fuzz_it.py -timeout 5", "MILLISECONDS"),
        ("fuzz fuzz_it.py -M main", "-j N"),
        ("fuzz fuzz_it.py -- ./target @@", "Python file"),
    ],
)
def test_the_right_word_is_said(hitmap_, harness, typed, word):
    harness(GOOD)
    check_refusal(hitmap_(*typed.split()), (word,))


def test_coverage_is_shown_by_that_name_too(hitmap_, campaign):
    assert hitmap_("coverage", campaign.folder).out == hitmap_("show", campaign.folder).out


@pytest.mark.parametrize("folder", ["a.py:b", "a::b", "x:y.py::C"])
def test_a_harness_in_a_folder_with_colons(hitmap_, harness, tmp_path, out, folder):
    (tmp_path / folder).mkdir()
    path = harness(GOOD, f"{folder}/fuzz_it.py")
    for typed in (path, f"{path}:run"):
        ended = hitmap_("fuzz", typed, "-o", f"{out.folder}{len(str(typed))}", "--max-execs", 300)
        assert ended.code == 0, ended.said
        assert hitmap_("replay", f"{out.folder}{len(str(typed))}").code == 0


def test_ctrl_c_while_hitmap_is_being_loaded_is_no_traceback(hitmap_, harness, tmp_path):
    """The script is interrupted when it opens the package's own files; before, Python itself is at work."""
    import signal

    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == os.environ.get('INTERRUPT_AT'):\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    python_path = f"{tmp_path}:{hitmap_.environment['PYTHONPATH']}"
    for module in ("hitmap._native", "hitmap._fuzz", "hitmap.coverage"):
        environment = {**hitmap_.environment, "PYTHONPATH": python_path, "INTERRUPT_AT": module}
        for command in ([HITMAP], [sys.executable, "-m", "hitmap"]):
            ended = subprocess.run([*command, "fuzz", harness(GOOD)], cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", ""), (module, ended.stderr)
    # In a script, Ctrl-C is the script's.
    environment = {**hitmap_.environment, "PYTHONPATH": python_path, "INTERRUPT_AT": "hitmap._fuzz"}
    ended = subprocess.run([sys.executable, "-c", "import hitmap"], env=environment, capture_output=True, text=True)
    assert "KeyboardInterrupt" in ended.stderr and ended.returncode == -signal.SIGINT


def test_messages_fit_the_terminal_and_break_between_words(hitmap_, tmp_path):
    """`script` gives a terminal of 80 columns."""
    line = f"stty cols 80 rows 24; {HITMAP} replay {tmp_path}/no-such-file-at-all; {HITMAP} fuzz --help"
    ended = subprocess.run(
        ["script", "-qec", line, "/dev/null"], env={**hitmap_.environment, "NO_COLOR": "1"}, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    lines = [line for line in ended.stdout.splitlines() if str(tmp_path) not in line]
    assert "such-file" in ended.stdout.replace("\n", "") and len(lines) > 20
    assert max(map(len, lines)) <= 80


def test_an_unknown_verb_lists_the_known_ones(hitmap_):
    check_refusal(hitmap_("fuz"), ("fuzz",))


@pytest.mark.parametrize("verb", [[], ["fuzz"], ["replay"], ["export"], ["bench"], ["merge"], ["diff"], ["show"]])
def test_help_has_an_example_fits_80_columns_and_exits_0(hitmap_, verb):
    ended = hitmap_(*verb, "--help")
    assert ended.code == 0
    assert "hitmap fuzz" in ended.out or f"hitmap {verb[0]}" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


# Replay.


def test_replay_of_a_file_that_does_not_exist(hitmap_):
    check_refusal(hitmap_("replay", "nowhere"), ("nowhere",))


def test_replay_of_an_empty_folder_or_into_nowhere(hitmap_, built, seeds, tmp_path):
    (tmp_path / "empty").mkdir()
    check_refusal(hitmap_("replay", "empty"), ("empty", "no file"))
    check_refusal(hitmap_("replay", seeds(b"x"), "--csv", "a.csv"), ("--order",))
    harness = built.harness("many_signals")
    ended = hitmap_("replay", seeds(b"x"), "--harness", harness, "--order", "ctime", "--csv", "no/such/a.csv")
    assert ended.code in (3, 4) and "no/such/a.csv" in ended.err, ended.said


def test_replay_outside_a_campaign_asks_for_the_harness(hitmap_, seeds):
    check_refusal(hitmap_("replay", seeds(b"x") / "seed0"), ("--harness",))
