"""What a child may use."""

import resource

from engine import OK, OUT_OF_MEMORY


def test_one_giant_allocation_fails_where_it_is_made(worker):
    engine = worker("bytearray(len(data) << 20)", memory_mb=64)
    small, giant, small_again = engine.run(b"x" * 8, b"x" * 1000, b"x" * 8)
    assert (small.outcome, giant.outcome, small_again.outcome) == (OK, OUT_OF_MEMORY, OK)
    assert giant.signature != 0


def test_the_limit_is_what_comes_on_top(worker):
    """A library that is large itself does not use up what an input may take."""
    engine = worker("""
        import hitmap
        ballast = bytearray(200 << 20)

        @hitmap.harness
        def run(data):
            bytearray(32 << 20)
    """, memory_mb=64)  # fmt: skip
    assert engine.run(b"")[0].outcome == OK


def test_what_earlier_inputs_leaked_is_not_held_against_the_next(worker):
    engine = worker("""
        import hitmap
        leaked = []

        @hitmap.harness
        def run(data):
            leaked.append(bytearray(20 << 20))
    """, memory_mb=64)  # fmt: skip
    assert [engine.run(b"")[0].outcome for _ in range(8)] == [OK] * 8


def test_no_limit_is_no_limit(worker):
    assert worker("bytearray(300 << 20)", memory_mb=0).run(b"")[0].outcome == OK


def test_core_files_are_off(worker):
    engine = worker("import resource; sys.exit(resource.getrlimit(resource.RLIMIT_CORE)[0] < 4096)")
    assert engine.run(b"")[0].value == 1
    assert resource.getpagesize() >= 4096


def test_a_reserved_address_space_is_not_memory(worker):
    engine = worker("""
        import mmap
        mmap.mmap(-1, 1 << 36, flags=mmap.MAP_SHARED | 0x4000, prot=mmap.PROT_READ)
    """, memory_mb=64)  # fmt: skip
    assert engine.run(b"")[0].outcome == OK
