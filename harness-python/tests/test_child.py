"""The child's loop: phases, slots that lie, what it leaves in the batch file."""

import os
import struct

from engine import ARENA, MUTATE, OBSERVE, OK, RUN, SLOTS, SLOTS_AT, TIME, worker as started


def test_inputs_arrive_byte_for_byte(worker):
    engine = worker("sys.stderr.write(f'{type(data).__name__} {data!r};')")
    engine.run(b"", b"\0", b"\xff\x00\xfe", b"word")
    assert engine.log() == "bytes b'';bytes b'\\x00';bytes b'\\xff\\x00\\xfe';bytes b'word';"


def test_an_input_that_is_kept_does_not_change(worker):
    engine = worker("""
        import hitmap
        kept = []

        @hitmap.harness
        def run(data):
            kept.append(data)
            assert kept[0] == b"first input"
    """)
    assert engine.run(b"first input")[0].outcome == 1
    assert engine.run(b"other bytes!")[0].outcome == 1


def test_inputs_that_are_kept_stay_as_they_were(worker):
    """Over batches that reuse the arena, in both phases; views of them too."""
    engine = worker("""
        import hitmap
        kept = []

        @hitmap.harness
        def run(data):
            kept.append((data, memoryview(data), list(data)))
            if data == b"compare":
                assert all(list(object) == list(view) == was for object, view, was in kept)
                assert len({id(object) for object, _, _ in kept if len(object) > 1}) >= 90
    """)
    for round in range(3):
        inputs = [bytes([round * 40 + n]) * (n + 2) for n in range(30)]
        assert {v.outcome for v in engine.run(*inputs)} == {OK}
        assert engine.observe(bytes([round]) * 50).outcome == OK
    assert engine.run(b"compare")[0].outcome == OK


def test_a_child_weighs_itself_at_each_doubling(worker):
    engine = worker("""
        import hitmap
        kept = []

        @hitmap.harness
        def run(data):
            kept.append([object() for _ in range(10)])
    """)
    assert engine.run(*[b"x"] * 200) and engine.weight().runs == 0
    assert engine.run(*[b"x"] * 200) and (first := engine.weight()).runs == 400
    assert engine.run(*[b"x"] * 200) and engine.weight().runs == 400
    assert engine.run(*[b"x"] * 200) and (second := engine.weight()).runs == 800
    assert second.blocks - first.blocks >= 400 * 11
    assert second.resident_kib >= first.resident_kib > 1000


def test_cycles_that_wait_for_the_collector_weigh_nothing(worker):
    engine = worker("""
        import hitmap
        class Node: pass

        @hitmap.harness
        def run(data):
            node = Node()
            node.self = node
    """)
    for _ in range(2):
        engine.run(*[b"x"] * 200)
    first = engine.weight()
    for _ in range(2):
        engine.run(*[b"x"] * 200)
    second = engine.weight()
    assert (first.runs, second.runs) == (400, 800)
    assert second.blocks - first.blocks < 200


def test_parts_are_timed_when_that_is_asked(worker):
    engine = worker("pass")
    engine.run(b"x", b"y")
    assert engine.times() == (0, 0)
    engine.run(*[b"x"] * 1000, phase=TIME)
    harness, map_ = engine.times()
    assert 0 < harness <= engine.nanos and 0 < map_ <= engine.nanos


def test_a_full_batch_runs(worker):
    engine = worker("pass")
    assert {v.outcome for v in engine.run(*[b"x"] * SLOTS)} == {1}
    assert engine.nanos > 0


def test_slots_that_lie_are_not_run_and_the_others_are(worker):
    engine = worker("pass")
    engine.stage([b"good"] * 5)
    for at, (offset, length) in {1: (0, ARENA + 1), 2: (0xFFFF_FFFF, 0xFFFF_FFFF), 3: (ARENA, 1)}.items():
        struct.pack_into("<II", engine.batch, SLOTS_AT + 32 * at, offset, length)
    engine.header(RUN, 5)
    engine.wake()
    assert [engine.verdict(at).outcome for at in range(5)] == [1, 0, 0, 0, 1]


def test_garbage_in_the_header_harms_nobody(worker):
    engine = worker("pass")
    for phase, count in [(0, 1), (77, 1), (0xFFFF_FFFF, 0xFFFF_FFFF), (OBSERVE, 0), (RUN, 0), (MUTATE, 1)]:
        engine.stage([b"x"])
        engine.header(phase, count)
        engine.wake()
        assert engine.verdict(0).outcome == 0
    engine.stage([b"x"])
    engine.header(RUN, 0xFFFF_FFFF)
    engine.wake()
    assert engine.cur == SLOTS
    assert engine.run(b"x")[0].outcome == 1


def test_the_header_is_not_believed(worker):
    """Arena length and magic belong to the time of attaching; a mad child can write them."""
    engine = worker("pass")
    struct.pack_into("<8sII", engine.batch, 0, b"garbage!", 99, 0xFFFF_FFFF)
    assert engine.run(b"x")[0].outcome == 1


def test_cur_names_the_input_that_ended_the_child(worker):
    engine = worker("if data == b'die': os._exit(0)")
    try:
        engine.run(b"a", b"b", b"die", b"c")
    except Exception as died:
        assert died.code == 0
    assert engine.cur == 2
    assert [engine.verdict(at).outcome for at in range(4)] == [1, 1, 0, 0]


def test_observing_runs_the_first_input_only(worker):
    engine = worker("sys.stderr.write(data.decode())")
    engine.run(b"1", b"2", phase=OBSERVE)
    assert engine.log() == "1"
    assert engine.verdict(1).outcome == 0
    assert engine.nanos > 0


def test_loaded_files_are_listed_and_again_when_more_come(worker):
    engine = worker("if data == b'load': import _ctypes_test")
    before = engine.run(b"x") and [o.path for o in engine.objects()]
    assert any("_native" in path for path in before)
    assert not any("_ctypes_test" in path for path in before)
    engine.run(b"load")
    assert any("_ctypes_test" in o.path for o in engine.objects())
    assert all(o.start < o.end for o in engine.objects())


def test_what_the_target_forks_does_not_speak_for_the_child(worker):
    engine = worker("""
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            if data == b"first": sys.stderr.write("parent;")
    """)
    assert [v.outcome for v in engine.run(b"first", b"second")] == [1, 1]
    assert engine.log() == "parent;"


def test_the_collector_does_not_run_inside_an_input(worker):
    engine = worker("""
        import gc, hitmap
        class Node: pass
        seen = []
        gc.callbacks.append(lambda phase, info: seen.append(inside))
        inside = False

        @hitmap.harness
        def run(data):
            global inside
            inside = True
            assert not any(seen), "collected inside a run"
            for _ in range(2000):
                node = Node()
                node.self = node
            inside = False
    """)
    for _ in range(3):
        assert {v.outcome for v in engine.run(*[b"x"] * 40)} == {1}


def test_what_the_import_left_is_frozen(worker):
    engine = worker("""
        import gc, hitmap
        left = [[] for _ in range(1000)]

        @hitmap.harness
        def run(data):
            assert not gc.isenabled() and gc.get_freeze_count() > 1000
            assert not any(o is left for o in gc.get_objects())
    """)
    assert engine.run(b"x")[0].outcome == OK


def test_cyclic_garbage_does_not_pile_up(worker):
    engine = worker("""
        import gc, hitmap
        class Node: pass

        @hitmap.harness
        def run(data):
            if data == b"count":
                import sys; sys.exit(min(255, sum(isinstance(o, Node) for o in gc.get_objects()) // 1000))
            for _ in range(1000):
                node = Node()
                node.self = node
    """)
    for _ in range(4):
        engine.run(*[b"x"] * 60)
    assert engine.run(b"count")[0].value == 0


def test_threads_of_the_target_run_between_batches(worker):
    engine = worker("""
        import hitmap, threading
        done = threading.Event()

        @hitmap.harness
        def run(data):
            if data == b"start":
                threading.Thread(target=done.set).start()
            else:
                assert done.wait(30)
    """)
    assert engine.run(b"start")[0].outcome == 1
    assert engine.run(b"look")[0].outcome == 1


def test_a_child_that_closed_every_descriptor_ends(harness):
    with started(harness("os.closerange(3, 256)")) as engine:
        try:
            engine.run(b"x")
        except Exception as died:
            assert died.code == 3
        assert engine.verdict(0).outcome == 1
        assert os.WEXITSTATUS(0) == 0
        engine.fork()
