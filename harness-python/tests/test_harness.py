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
