"""Novelty: a Python harness plays the instrumented library and counts into the map itself."""

import pytest

from engine import COUNTERS, FLAGS, GUARDS, OBSERVE

COUNTING = """
    import mmap, os, struct, hitmap
    fd = int(os.environ["HITMAP_MAP"].split(":")[1])
    region = mmap.mmap(fd, os.fstat(fd).st_size)
    capacity = struct.unpack_from("<I", region, 12)[0]
    counters = 4096 + 1024 * 1024

    def hit(edge, times=1):
        region[counters + edge] = (region[counters + edge] + times) % 256
        region[counters + capacity + 2048 + edge] = 1

    @hitmap.harness(expected=ValueError)
    def run(data):
        if data[:1] == b"w":
            hit(4096 + 9, 256)
        elif data[:1] == b"M":
            struct.pack_into("<IIIIQQI", region, 4096 + 1024, 1, 3, 8192, 10, 0, 0, 1)
            region[4096 + 1024 + 36] = 77
            struct.pack_into("<I", region, 28, 2)
            hit(8192 + 3)
        elif data[:1] == b"B":
            struct.pack_into("<IIIIQQI", region, 4096, 1, 3, 0xFFFFF000, 0xFFFFFFFF, 0, 0, 99)
            struct.pack_into("<I", region, 28, 0xFFFFFFFF)
        else:
            for edge in data:
                hit(4096 + edge)
            if data[:1] == bytes([50]): raise ValueError
"""


@pytest.fixture
def judged(worker):
    engine = worker(COUNTING)
    engine.enter_module(0, 100, 4096)
    return engine


def novel(engine, *inputs):
    return [(v.edge, v.klass) if v.edge else None for v in engine.run(*inputs)]


def test_a_verdict_does_not_depend_on_what_travels_with_the_input(judged):
    first, again, more, none = judged.run(b"\x05", b"\x05", b"\x05\x06", b"")
    assert [v.edge for v in (first, again, more, none)] == [4101, 4101, 4101, 0]
    assert first.signature == again.signature != more.signature, "the hash is of all that is new"


def test_what_is_new_is_reported_until_the_history_has_it(judged):
    assert novel(judged, b"\x05") == [(4101, 1)]
    assert novel(judged, b"\x05") == [(4101, 1)]
    judged.history[4101] = 1
    assert novel(judged, b"\x05") == [None]


def test_a_higher_class_is_new_a_lower_one_is_not(judged):
    judged.history[4101] = 2
    assert novel(judged, b"\x05", b"\x05\x05", b"\x05\x05\x05", b"\x05" * 200) == [None, None, (4101, 4), (4101, 128)]


def test_a_wrapped_counter_is_still_new(judged):
    assert novel(judged, b"w") == [(4105, 128)]


def test_the_map_is_clean_after_a_run(judged):
    judged.run(b"\x05")
    assert judged.counter(4101) == 0
    assert not any(judged.region[judged.flags_at :][: judged.capacity])


def test_observing_leaves_the_counts_in_the_map(judged):
    judged.run(b"\x05\x05", phase=OBSERVE)
    assert judged.counter(4101) == 2


def test_a_rejected_input_can_be_novel(judged):
    verdict = judged.run(b"\x32")[0]
    assert (verdict.outcome, verdict.edge) == (2, 4096 + 50)


def test_a_library_that_comes_in_mid_batch_counts_for_that_input(judged):
    assert novel(judged, b"\x05", b"M", b"M") == [(4101, 1), (8195, 1), (8195, 1)]


def test_a_table_that_was_scribbled_over_reads_nothing_foreign(judged):
    assert [v.outcome for v in judged.run(b"B", b"x")] == [1, 1]


def test_threads_that_count_while_the_map_is_read_lose_no_edge(worker):
    engine = worker("""
        import hitmap, threading
        go = threading.Event()
        thread = threading.Thread(target=go.wait)

        @hitmap.harness
        def run(data):
            if data == b"start":
                thread.start()
            elif data == b"end":
                go.set()
                thread.join()
    """)
    engine.enter_module(0, 100, 4096, GUARDS)

    def late(edge):
        """What a thread leaves that read a counter before it was cleared: a count without an entry in the journal."""
        engine.region[engine.counters_at + edge] = 6

    late(4101)
    assert novel(engine, b"", b"start", b"") == [None, (4101, 8), None]
    late(4102)
    assert novel(engine, b"") == [(4102, 8)]
    # The thread may have counted until it ended.
    late(4103)
    assert novel(engine, b"end") == [(4103, 8)]
    late(4104)
    engine.end()
    engine.distrust_journal()
    engine.fork()
    assert novel(engine, b"") == [None]
    assert engine.counter(4104) == 0


def test_leftovers_of_the_fork_belong_to_no_input(worker):
    engine = worker(COUNTING.replace("@hitmap", "hit(4096 + 7)\n\n    @hitmap"))
    engine.end()
    engine.enter_module(0, 100, 4096, COUNTERS | FLAGS)
    engine.fork()
    assert novel(engine, b"", b"\x07") == [None, (4103, 1)]
