"""The decorator."""

import pickle

import pytest

import hitmap


@hitmap.harness
def bare(data: bytes):
    "What it says."
    return data[::-1]


@hitmap.harness(expected=(ValueError, KeyError))
def picky(data: bytes):
    raise ValueError(data)


def test_it_stays_the_function_that_it_was():
    assert bare(b"ab") == b"ba"
    assert (bare.__name__, bare.__doc__, bare.name) == ("bare", "What it says.", "bare")
    assert bare.file == __file__
    assert bare.expected == ()


def test_expected_exceptions_are_still_raised():
    with pytest.raises(ValueError, match="x"):
        picky(b"x")
    assert picky.expected == (ValueError, KeyError)


@pytest.mark.parametrize("wrong", [3, "ValueError", ("ValueError",), (ValueError, int), [ValueError], None])
def test_what_is_expected_must_be_exception_classes(wrong):
    with pytest.raises(TypeError, match=r"expected=\(ValueError,\)"):
        hitmap.harness(expected=wrong)


@pytest.mark.parametrize("wrong", [3, b"data", "text"])
def test_only_functions_are_harnesses(wrong):
    with pytest.raises(TypeError, match="takes bytes"):
        hitmap.harness(wrong)


def test_a_c_function_is_one_too():
    assert hitmap.harness(len)(b"abc") == 3
    assert hitmap.harness(len).file is None


def test_it_can_be_pickled():
    assert pickle.loads(pickle.dumps(hitmap.harness(expected=KeyError)(len))).expected == (KeyError,)


def test_calling_it_decodes():
    harness = hitmap.harness(decode=int)(lambda value: value + 1)
    assert harness(b"41") == 42
    with pytest.raises(ValueError):
        harness(b"none")


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"mutator": 3}, "mutator= takes a function"),
        ({"mutator": lambda data: data}, r"called as mutator\(data, max_size, seed\)"),
        ({"crossover": lambda a, b, seed: a}, r"called as crossover\(data1, data2, max_size, seed\)"),
        ({"generator": lambda: b""}, r"called as generator\(seed\)"),
        ({"encode": bytes}, "encode= without decode="),
        ({"decode": int, "generator": lambda seed: seed}, "without encode="),
    ],
)
def test_functions_that_cannot_make_inputs_are_refused(parts, says):
    with pytest.raises(TypeError, match=says):
        hitmap.harness(**parts)(len)


def test_a_pickle_has_its_functions():
    again = pickle.loads(pickle.dumps(hitmap.harness(decode=int, encode=repr, generator=abs)(len)))
    assert (again.decode, again.encode, again.generator, again.mutator) == (int, repr, abs, None)


def test_mutate_follows_from_its_seed():
    assert hitmap.mutate(b"some bytes", 20, seed=3) == hitmap.mutate(bytearray(b"some bytes"), 20, seed=3)
    mutants = {hitmap.mutate(b"some bytes", 20) for _ in range(100)}
    assert len(mutants) > 20
    assert all(len(mutant) <= 20 for mutant in mutants)
    assert hitmap.mutate(b"longer than that", 4, seed=1) != b"longer than that"
    assert hitmap.mutate(b"", 0) == b""
