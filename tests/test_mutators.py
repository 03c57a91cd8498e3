"""Functions of a harness that make inputs: mutator, crossover, generator, and the encoding.

The target is a puzzle whose six bytes must be right one after the other. Behind a checksum no chance gets there.
"""

import re

import pytest

from campaign import Campaign

SEALED = """
import random, zlib
import hitmap
import nested_compares

def decode(data):
    if zlib.crc32(data[4:]).to_bytes(4, "big") != data[:4]:
        raise ValueError("not sealed")
    return bytearray(data[4:])

def encode(value):
    return zlib.crc32(value).to_bytes(4, "big") + bytes(value)

def generator(seed):
    return bytearray(random.randbytes(8))

def mutator(value, max_size, seed):
    return hitmap.mutate(value, max_size - 4)

def crossover(one, two, max_size, seed):
    at = random.randrange(1 + min(len(one), len(two)))
    return one[:at] + two[at:]

@hitmap.harness({arguments})
def run(value):
    nested_compares.run(bytes(value))
"""
ALL = "decode=decode, encode=encode, generator=generator, mutator=mutator, crossover=crossover"

# What stands behind a function of the harness, and what a campaign says of it.
PLAIN = """
import os, random, signal, sys
import hitmap
import nested_compares

calls = 0

{functions}

@hitmap.harness({arguments})
def run(data):
    nested_compares.run(data)
"""


@pytest.fixture
def fuzz(built, hitmap_, seeds, out, tmp_path):
    """Runs a harness, given as source, on the puzzle."""
    built.harness("nested_compares")

    def run(source: str, execs: int, *flags, start: tuple[bytes, ...] = (), into: Campaign = out, seed: int = 7):
        harness = tmp_path / "harness.py"
        harness.write_text(source)
        brought = ["-i", seeds(*start)] if start else []
        return hitmap_(
            "fuzz", harness, *brought, "-o", into.folder, "--max-execs", execs, "--seed", seed, "-j", 1, *flags
        )

    return run


def inputs(campaign: Campaign) -> list[tuple[str, bytes]]:
    """Queue entries; their names without the clock."""
    return [(re.sub("time:[0-9]+", "", name), data) for name, data in campaign.queue().items()]


def test_a_mutator_of_values_gets_where_chance_on_bytes_does_not(fuzz, out, tmp_path):
    by_chance = Campaign(tmp_path / "chance")
    execs = 40_000
    fuzz(SEALED.format(arguments="decode=decode, encode=encode, generator=generator"), execs, into=by_chance)
    ended = fuzz(SEALED.format(arguments=ALL), execs)
    assert ended.code in (0, 1), ended.said
    assert out.count("execs_done") >= execs
    assert out.count("edges_found") >= by_chance.count("edges_found") + 2, ended.said
    for _, data in inputs(out):
        assert len(data) >= 4
    assert any(data[4:6] == b"ma" for _, data in inputs(out)), "what is kept is encoded"


def test_the_same_seed_makes_the_same_queue(fuzz, tmp_path):
    both = [Campaign(tmp_path / name) for name in ("one", "two")]
    for campaign in both:
        fuzz(SEALED.format(arguments=ALL), 20_000, into=campaign)
    one, two = map(inputs, both)
    assert len(one) > 3
    assert one == two
    other = Campaign(tmp_path / "other")
    fuzz(SEALED.format(arguments=ALL), 20_000, into=other, seed=8)
    assert inputs(other) != one


def test_a_generator_fills_an_empty_corpus(fuzz, out):
    source = PLAIN.format(functions="def generator(seed): return b'ma' + random.randbytes(4)", arguments="generator=generator")
    ended = fuzz(source, 500)
    name, data = inputs(out)[0]
    assert "orig:generator" in name, ended.said
    assert data[:2] == b"ma" and len(data) == 6


def test_seeds_that_are_brought_need_no_generator(fuzz, out):
    source = PLAIN.format(functions="def generator(seed): raise KeyError('asked')", arguments="generator=generator")
    ended = fuzz(source, 500, start=(b"........",))
    assert ended.code == 0 and "KeyError" not in ended.said
    assert "orig:seed0" in inputs(out)[0][0]


def test_a_crossover_gets_two_entries(fuzz, out, tmp_path):
    functions = """
def crossover(one, two, max_size, seed):
    with open("pairs", "ab", 0) as log:
        log.write(one.hex().encode() + b" " + two.hex().encode() + b"\\n")
    return two[:1] + one[1:]
"""
    source = PLAIN.format(functions=functions, arguments="crossover=crossover")
    ended = fuzz(source, 4_000, start=(b"m.......", b".a......", b"ma......"))
    assert ended.code in (0, 1), ended.said
    entries = {data for _, data in inputs(out)}
    pairs = [tuple(bytes.fromhex(word) for word in line.split(" ")) for line in (tmp_path / "pairs").read_text().splitlines()]
    assert len(pairs) > 20
    assert all(one in entries and two in entries for one, two in pairs)
    assert all(one != two for one, two in pairs)


# Each fails at a few of all calls, so a campaign goes on; `says` is in the note, and in the file.
FAILING = {
    "raises": ("raise KeyError(f'call {calls}')", "raised KeyError at harness.py:11: 'call "),
    "exits": ("sys.exit(3)", "raised SystemExit"),
    "gives no bytes": ("return 'text'", "returned str, not bytes"),
    "gives nothing": ("return None", "returned NoneType, not bytes"),
    "gives too much": ("return bytes(max_size + 1)", "returned more than an input may have: 65 bytes"),
    "kills": ("os.kill(os.getpid(), signal.SIGSEGV)", "ended the process by signal 11"),
    "leaves": ("os._exit(5)", "ended the process with code 5"),
    "kills the server": ("os.kill(os.getppid(), signal.SIGKILL); signal.pause()", "ended the worker"),
    "wants too much": ("return bytes(1 << 40)", "raised MemoryError"),
    "hangs": ("signal.pause()", "did not return within 200 ms"),
}


@pytest.mark.parametrize(("statement", "says"), FAILING.values(), ids=[name.replace(" ", "_") for name in FAILING])
def test_a_mutator_that_fails_is_told_and_costs_no_campaign(fuzz, out, statement, says):
    functions = f"""
def mutator(data, max_size, seed):
    if seed % 64 == 0 and data:
        {statement}
    return b"m" + data[1:]
"""
    source = PLAIN.format(functions=functions, arguments="mutator=mutator")
    ended = fuzz(source, 3_000, "-t", 200, "--max-len", 64, start=(b"........",))
    assert ended.code == 0, ended.said
    assert out.count("execs_done") >= 3_000
    assert out.findings == []
    assert "mutator" in ended.said and says in " ".join(ended.said.split()), ended.said
    written = (out.workers[0] / "mutators.txt").read_text()
    assert says in written
    assert "\n\n  File" not in written, "a traceback as Python writes it"
    if "raised" in says or "signal" in says or "return within" in says:
        assert "in mutator" in written, "the place"


@pytest.mark.parametrize("statement", ["raise KeyError('never')", "return 5"])
def test_a_mutator_that_never_works_is_an_error(fuzz, statement):
    functions = f"def mutator(data, max_size, seed):\n    {statement}"
    ended = fuzz(PLAIN.format(functions=functions, arguments="mutator=mutator"), 10_000, start=(b"........",))
    assert ended.code == 4, ended.said
    assert "mutator (harness.py:8)" in ended.said


def test_a_generator_that_never_works_leaves_no_trace(fuzz, out):
    source = PLAIN.format(functions="def generator(seed): return 1 / 0", arguments="generator=generator")
    ended = fuzz(source, 1_000)
    assert ended.code == 4 and "ZeroDivisionError" in ended.said
    assert not out.folder.exists()


@pytest.mark.parametrize("part", ["encode", "decode"])
def test_what_raises_in_the_encoding_is_told_or_rejected(fuzz, out, part):
    functions = """
def fails(value):
    if b"q" in value:
        raise ValueError("q")
    return bytes(value)

def mutator(value, max_size, seed):
    return hitmap.mutate(value, max_size)
"""
    arguments = {"encode": "encode=fails, decode=bytes", "decode": "decode=fails, encode=bytes"}[part]
    source = PLAIN.format(functions=functions, arguments=f"mutator=mutator, {arguments}")
    ended = fuzz(source, 10_000, start=(b"........",))
    assert ended.code == 0, ended.said
    assert ("encode fails (harness.py:9) raised ValueError" in " ".join(ended.said.split())) == (part == "encode")
    assert out.findings == []


def test_seeds_that_do_not_decode_are_told(fuzz, out):
    ended = fuzz(SEALED.format(arguments=ALL), 2_000, start=(b"not sealed",))
    assert ended.code == 0, ended.said
    assert "bring seeds that decode" in " ".join(ended.said.split())
    assert out.count("execs_done") >= 2_000


def test_a_mutator_may_fork(fuzz, out):
    functions = """
def mutator(data, max_size, seed):
    if seed % 64 == 0:
        os.fork()
    return b"m" + data[1:]
"""
    ended = fuzz(PLAIN.format(functions=functions, arguments="mutator=mutator"), 3_000, start=(b"........",))
    assert ended.code == 0, ended.said
    assert out.count("execs_done") >= 3_000


def test_what_a_mutator_touches_belongs_to_no_input(fuzz, out):
    functions = """
def mutator(data, max_size, seed):
    nested_compares.run(b"maze..")
    return data
"""
    source = PLAIN.format(functions=functions, arguments="mutator=mutator").replace("nested_compares.run(data)", "pass")
    fuzz(source, 2_000, start=(b"........",))
    assert out.count("edges_found") == 0


def test_replay_decodes(fuzz, hitmap_, out, tmp_path):
    fuzz(SEALED.format(arguments=ALL), 500)
    name = next(iter(out.queue()))
    good = out.workers[0] / "queue" / name
    bad = tmp_path / "bad"
    bad.write_bytes(b"not sealed")
    ended = hitmap_("replay", good, bad, "--harness", tmp_path / "harness.py")
    assert ended.said.count("rejected") == 1, ended.said


def test_an_expected_exception_is_never_written(fuzz, out):
    functions = """
class Refused(Exception):
    def __str__(self):
        os.abort()
    __repr__ = __str__

    @property
    def __traceback__(self):
        os.abort()
"""
    source = PLAIN.format(functions=functions, arguments="expected=Refused") + "    raise Refused\n"
    ended = fuzz(source, 5_000, start=(b"........",))
    assert ended.code == 0, ended.said
    assert out.findings == []
