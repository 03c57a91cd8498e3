"""What memcov's documents tell their readers to do, on the extension's own handle; hitmap is never imported.

Each script says what it expects, and prints "done" as its last act.
"""

import pytest


def check(script, text):
    assert script(text) == "done\n"


def test_edges_are_counted_and_reset(script):
    check(script, """
import binding, steps
assert (binding.get_total(), binding.get_now()) == (16, 0)
steps.step(3), steps.step(15), steps.step(3)
assert binding.get_now() == 2
binding.reset()
assert binding.get_now() == 0
print("done")
""")


def test_a_map_has_as_many_bytes_as_there_are_edges_and_comes_back(script):
    check(script, """
import binding, steps
steps.step(0), steps.step(15)
data = binding.get_hitmap()
assert len(data) == 16 and data[0] == 0b10 and data[2] == 1 and sum(data) == 3
binding.reset()
steps.step(7)
binding.set_now(99)
binding.set_hitmap(data)
assert binding.get_now() == 2 and binding.get_hitmap() == data
print("done")
""")


def test_what_is_pushed_is_merged_when_it_is_popped(script):
    check(script, """
import binding, steps
steps.step(1)
binding.push()
assert binding.get_now() == 0
steps.step(1), steps.step(2)
assert binding.get_now() == 2
binding.pop()
assert binding.get_now() == 2
for depth in range(50):
    steps.step(depth)
    binding.push()
for depth in range(50):
    binding.pop()
assert binding.get_now() == 16
print("done")
""")


def test_a_loop_keeps_inputs_that_raise_the_number_of_bits(script):
    check(script, """
import ctypes, steps
from bitmap import Memcov
cov = Memcov(ctypes.CDLL(steps.__file__))
kept, last = [], cov.get_hitbits()
for data in (1, 1, 2, 1, 5, 2):
    steps.step(data)
    if last != cov.get_hitbits():
        last = cov.get_hitbits()
        kept.append(data)
assert kept == [1, 2, 5]
print("done")
""")


def test_a_bitmap_has_one_bit_an_edge_and_comes_back(script):
    check(script, """
import ctypes, steps
from bitmap import Memcov
cov = Memcov(ctypes.CDLL(steps.__file__))
assert cov.get_bitmap_bytes() == 2
steps.step(0), steps.step(15)
data = cov.get_hitmap_buffer()
assert data == bytearray([1, 128])
cov.reset_bitmap()
assert cov.get_hitbits() == 0
cov.set_hitbits(12)
assert cov.get_hitbits() == 12
cov.set_hitmap_buffer(data)
assert cov.get_hitbits() == 2 and cov.get_hitmap_buffer() == data
print("done")
""")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_coverage_is_carried_from_one_process_into_the_next(script, method):
    # Cannot pass on a shared map: before the file is read, the parent's number is what it was.
    check(script, f"""
import multiprocessing, os
import binding, steps

def model(name):
    binding.push()
    steps.step(name), steps.step(name + 1)
    assert binding.get_now() == 2
    binding.pop()
    binding.save("mem_coverage.bin")

def edges():
    data = binding.get_hitmap()
    return {{i for i in range(1, 17) if data[i // 8] >> (i % 8) & 1}}

if __name__ == "__main__":
    steps.step(0)
    known = edges()
    for name in (1, 2, 8, 14):
        before = binding.get_now()
        child = multiprocessing.get_context("{method}").Process(target=model, args=(name,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert binding.get_now() == before == len(known), "the child's map is its own"
        binding.load("mem_coverage.bin")
        union = known | {{name + 1, name + 2}}
        assert edges() == union != known, (edges(), union)
        assert binding.get_now() == len(union)
        known = union
    assert len(known) == 8
    print("done")
""")


# How Tzer calls memcov, beside what the documents say.


def test_a_child_pushes_for_its_own_edges_and_hands_the_union_back(script):
    check(script, """
import multiprocessing
import binding, steps

def run(name, back):
    binding.push()
    steps.step(name), steps.step(0)
    back["own"] = binding.get_now()
    binding.pop()
    back["now"], back["map"] = binding.get_now(), binding.get_hitmap()

binding.reset()
steps.step(0), steps.step(1)
for name, union in ((1, 2), (5, 3), (9, 4), (5, 4)):
    with multiprocessing.Manager() as manager:
        back = manager.dict()
        child = multiprocessing.get_context("fork").Process(target=run, args=(name, back))
        child.start()
        child.join()
        assert back["own"] == 2
        if binding.get_now() < back["now"]:
            binding.set_now(back["now"])
            binding.set_hitmap(back["map"])
    assert binding.get_now() == union
print("done")
""")


def test_fitness_is_what_an_input_covers_alone_and_what_it_adds(script):
    check(script, """
import binding, steps
binding.reset()
steps.step(0)
seen = []
for names in ((0,), (0, 3), (3, 4, 5), (5,)):
    before = binding.get_now()
    binding.push()
    assert binding.get_now() == 0
    for name in names:
        steps.step(name)
    own = binding.get_now()
    binding.pop()
    seen.append((own, binding.get_now() - before))
assert seen == [(1, 0), (2, 1), (3, 2), (1, 0)]
print("done")
""")


def test_files_are_replayed_each_on_the_map_of_the_one_before(script):
    check(script, """
import multiprocessing
import binding, steps

def run(name, data, back):
    if data is not None:
        binding.set_now(back["now"])
        binding.set_hitmap(data)
    else:
        binding.reset()
    steps.step(name)
    back["now"], back["map"] = binding.get_now(), binding.get_hitmap()

steps.step(15)
lines = []
with multiprocessing.Manager() as manager:
    back = manager.dict()
    for name in (2, 7, 2, 11):
        child = multiprocessing.get_context("fork").Process(target=run, args=(name, back.get("map"), back))
        child.start()
        child.join()
        assert child.exitcode == 0
        lines.append(f"{back['now']}/{binding.get_total()}")
assert lines == ["1/16", "2/16", "2/16", "3/16"] and binding.get_now() == 1
print("done")
""")


def test_a_parent_adopts_the_larger_map_of_a_child(script):
    check(script, """
import multiprocessing
import binding, steps

def run(name, back):
    steps.step(name)
    back["now"], back["map"] = binding.get_now(), binding.get_hitmap()

binding.reset()
adopted = 0
for name in (4, 4, 9):
    with multiprocessing.Manager() as manager:
        back = manager.dict()
        child = multiprocessing.get_context("fork").Process(target=run, args=(name, back))
        child.start()
        child.join()
        if binding.get_now() < back["now"]:
            adopted += 1
            binding.set_now(back["now"])
            binding.set_hitmap(back["map"])
assert adopted == 2 and binding.get_now() == 2
print("done")
""")
