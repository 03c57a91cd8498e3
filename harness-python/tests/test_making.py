"""The MUTATE phase: wishes in slots, inputs that the harness's functions make, and what is said when they fail."""

import struct

import pytest

from engine import ARENA, ARENA_AT, MUTATE, READY, RUN, SLOTS_AT, TIMES_AT, Engine

MUTATOR, CROSSOVER, GENERATOR = 1, 2, 3
MADE, UNDECODABLE, FAILED = 1, 2, 3
HARNESS = """
    import os, random
    import hitmap

    def mutator(data, max_size, seed):
        if data == b"raise":
            raise KeyError("why")
        return {b"long": bytes(max_size + 1), b"text": "text"}.get(data, b"%b %d %d" % (data, max_size, seed))

    def crossover(one, two, max_size, seed):
        return one + b"+" + two

    def generator(seed):
        return b"%d %d" % (seed, random.randrange(1 << 30))

    @hitmap.harness(mutator=mutator, crossover=crossover, generator=generator)
    def run(data):
        pass
"""


def made(engine: Engine, *wishes, max_len: int = 64, arena: int = ARENA) -> list[tuple[int, bytes]]:
    """Asks for inputs, each (function, seed, first parent, second parent); gives the answers' codes and inputs."""
    engine.clear_notes()
    free = 0
    for at, (maker, seed, *parents) in enumerate(wishes):
        spans = []
        for parent in (*parents, b"", b"")[:2]:
            engine.batch[ARENA_AT + free : ARENA_AT + free + len(parent)] = parent
            spans += [free, len(parent)]
            free += len(parent)
        # offset, len, outcome; edge and class are the second parent, value the function, signature the seed.
        struct.pack_into("<IIIIIIQ", engine.batch, SLOTS_AT + 32 * at, *spans[:2], 0, *spans[2:], maker, seed)
    struct.pack_into("<II", engine.batch, TIMES_AT + 48, ARENA - arena + free, max_len)
    engine.header(MUTATE, len(wishes))
    engine.wake()
    answers = []
    for at in range(engine.cur):
        offset, length, code = struct.unpack_from("<III", engine.batch, SLOTS_AT + 32 * at)
        answers.append((code, engine.batch[ARENA_AT + offset : ARENA_AT + offset + length] if code == MADE else b""))
    return answers


def test_each_function_gets_what_it_is_called_with(worker):
    engine = worker(HARNESS)
    answers = made(engine, (MUTATOR, 7, b"a"), (CROSSOVER, 8, b"one", b"two"), (MUTATOR, 9, b""), (GENERATOR, 3))
    assert answers[:3] == [(MADE, b"a 64 7"), (MADE, b"one+two"), (MADE, b" 64 9")]
    assert answers[3][1].startswith(b"3 ")
    assert engine.run(b"x")[0].outcome == 1


def test_random_follows_the_seed_of_each_call(worker):
    engine = worker(HARNESS)
    (_, once), (_, other), (_, again) = made(engine, (GENERATOR, 3), (GENERATOR, 4), (GENERATOR, 3))
    assert once == again
    assert once.split()[1] != other.split()[1]


@pytest.mark.parametrize(
    ("parent", "says"),
    [
        (b"raise", "mutator mutator (target.py:5) raised KeyError at target.py:7: 'why'"),
        (b"long", "mutator mutator (target.py:5) returned more than an input may have: 65 bytes; --max-len is 64"),
        (b"text", "mutator mutator (target.py:5) returned str, not bytes"),
    ],
)
def test_a_failure_ends_the_batch_and_is_told(worker, parent, says):
    engine = worker(HARNESS)
    assert made(engine, (MUTATOR, 1, b"a"), (MUTATOR, 2, parent), (MUTATOR, 3, b"b"))[1:] == [(FAILED, b"")]
    assert engine.report().split("\n\n")[0] == says
    assert made(engine, (MUTATOR, 3, b"b"))[0][0] == MADE


def test_values_are_decoded_and_encoded(worker):
    engine = worker("""
        import hitmap

        def mutator(value, max_size, seed):
            return value + seed

        @hitmap.harness(mutator=mutator, decode=int, encode=lambda value: b"%d" % value)
        def run(value):
            assert isinstance(value, int)
    """)
    assert made(engine, (MUTATOR, 2, b"40"), (MUTATOR, 2, b"none"), (MUTATOR, 1, b"1")) == [
        (MADE, b"42"),
        (UNDECODABLE, b""),
        (MADE, b"2"),
    ]
    assert [v.outcome for v in engine.run(b"5", b"none")] == [1, 2]


def test_what_finds_no_room_is_left_for_the_next_batch(worker):
    engine = worker(HARNESS)
    # The parents leave 71 of 80 bytes. Each input takes 6, and is begun only where 64 are free.
    assert made(engine, *[(MUTATOR, 1, b"a")] * 9, arena=80) == [(MADE, b"a 64 1")] * 2
    assert made(engine, (MUTATOR, 1, b"a"), max_len=ARENA + 1) == []


def test_wishes_that_make_no_sense_harm_nobody(worker):
    engine = worker(HARNESS)
    assert made(engine, (99, 1, b"a"), (MUTATOR, 1, b"a")) == [(0, b""), (MADE, b"a 64 1")]
    struct.pack_into("<II", engine.batch, SLOTS_AT, 0xFFFF_FFF0, 0xFFFF_FFF0)
    engine.header(MUTATE, 1)
    engine.wake()
    plain = worker("pass")
    assert made(plain, (MUTATOR, 1, b"a"))[0][0] == FAILED
    assert plain.run(b"x", phase=RUN)[0].outcome == 1


def test_the_server_says_what_the_harness_brings(harness):
    with Engine(harness(HARNESS)) as engine:
        kind, value, _ = engine.hear()
        assert kind == READY
        assert value & 30 == 2 + 4 + 8
