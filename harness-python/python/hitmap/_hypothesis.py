"""Hypothesis tests as harnesses: the bytes of an input are the choices that Hypothesis makes.

An input is a sequence of choices in the form in which Hypothesis keeps them in its database: a tag, a size, the value.
So a string that a strategy draws stands in the input as it is, and what the library compares it with can be put there.
Unlike Hypothesis's own, our reader takes any bytes: sizes that lie are cut, values that do not fit are bent until they
do, and when the bytes end, choices go on from a generator that always starts alike. So every input is a test case, and
the same input is always the same one.

The test runs by Hypothesis's documented entry for fuzzers, ``fuzz_one_input``, with this provider of choices in the
place of its own. The child writes each choice that is made into memory that it shares with the server, so a failure gets
into Hypothesis's database even when it is a death that Python does not survive.
"""

from __future__ import annotations

import functools
import inspect
import math
import mmap
import signal
import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any

# The first release whose providers and database speak of choices as this file does.
OLDEST = (6, 131)
# Room for the choices of one run; what goes beyond it is not kept.
ROOM = 1 << 20
# Hypothesis's tags, in the upper three bits of a choice's first byte; booleans have none and are 0 and 1.
FLOAT, INTEGER, BYTES, STRING = 1, 2, 3, 4
# Sizes of what is drawn after the end of the input, and what Hypothesis says when it has no limit.
SHORT, UNBOUNDED = 8, 10**10
# A size in the lower five bits of the first byte that says: it follows, seven bits a byte.
LONG = 31


class Unsuitable(Exception):
    """A test that cannot be a harness; the text says why and what to do."""


def is_test(function: object) -> bool:
    """Whether it carries Hypothesis's ``@given``."""
    return bool(getattr(function, "is_hypothesis_test", False))


def as_function(test: Any, owner: type | None = None) -> Callable[[bytes], object]:
    """A function of bytes that runs the test once; its attribute ``ended`` wants to hear how each child ended.

    Args:
        test: what ``@given`` made.
        owner: the class that it is a method of; an instance is made once.

    Raises:
        Unsuitable: when the test wants more than Hypothesis gives, or Hypothesis is too old.
    """
    core = _hypothesis_core()
    inner, settings = test.hypothesis.inner_test, test._hypothesis_internal_use_settings
    parameters = list(inspect.signature(test).parameters)
    call = inner if owner is None else inner.__get__(owner())
    if wanted := parameters[owner is not None :]:
        raise Unsuitable(
            f"{test.__name__} wants {', '.join(wanted)} from pytest (a fixture or a parameter); give it values by "
            "@given, or write a test without"
        )

    @core.given(**test.hypothesis._given_kwargs)
    @functools.wraps(call)
    def again(*args: object, **kwargs: object) -> object:
        return call(*args, **kwargs)

    kept = _Kept(inner, settings.database)
    core.BytestringProvider = _provider(core.BytestringProvider, kept)
    # What it keeps goes under the name that pytest asks for; a deadline is hitmap's own affair.
    run = core.Settings(settings, database=None, deadline=None)(again).hypothesis.fuzz_one_input

    def one(data: bytes) -> None:
        kept.begin()
        try:
            run(data)
        except BaseException as error:
            kept.failed(error)
            raise
        finally:
            kept.end()

    one.__name__ = one.__qualname__ = test.__name__
    one.ended = kept.child_ended  # type: ignore[attr-defined]
    return one


def _hypothesis_core() -> ModuleType:
    import hypothesis
    from hypothesis import core

    if hypothesis.__version_info__[:2] < OLDEST or not hasattr(core, "BytestringProvider"):
        oldest = ".".join(map(str, OLDEST))
        raise Unsuitable(f"Hypothesis {hypothesis.__version__} has no choices that hitmap knows; install {oldest} or later")
    return core


class _Kept:
    """The choices of the run that is under way, where they outlive the process that makes them; and failures."""

    def __init__(self, test: Callable[..., object], database: Any) -> None:
        from hypothesis.database import choices_to_bytes

        self.test = test
        self.database = database
        self.told = choices_to_bytes
        # Shared with forked children: eight bytes that say how much follows.
        self.memory = mmap.mmap(-1, 8 + ROOM)
        self.at = 8
        self.smallest: dict[object, int] = {}

    def begin(self) -> None:
        self.at = 8
        self.memory[:8] = bytes(8)

    def add(self, choice: Any) -> None:
        told = self.told((choice,))
        end = self.at + len(told)
        if end <= len(self.memory):
            self.memory[self.at : end] = told
            self.at = end
            self.memory[:8] = (end - 8).to_bytes(8, "little")

    def end(self) -> None:
        self.memory[:8] = bytes(8)

    def failed(self, error: BaseException) -> None:
        """In the child: keeps a failure that is smaller than others from the same place, so that few are kept."""
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        place = (type(error), trace and (trace.tb_frame.f_code, trace.tb_lineno))
        if self.at < self.smallest.get(place, ROOM + 9):
            self.smallest[place] = self.at
            self.save()

    def child_ended(self, status: int) -> None:
        """In the server: a child that a signal ended in the middle of a run leaves a failure.

        One that was killed was too slow or too large, which replaying would only repeat.
        """
        if status & 0x7F not in (0, signal.SIGKILL):
            self.save()
        self.end()

    def save(self) -> None:
        from hypothesis.internal.reflection import function_digest

        size = int.from_bytes(self.memory[:8], "little")
        if size and self.database is not None:
            # What stands under the plain name was shrunk already, Hypothesis thinks.
            self.database.save(function_digest(self.test) + b".secondary", self.memory[8 : 8 + min(size, ROOM)])


class _Choices:
    """Choices out of any bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        # After the end: a multiplicative generator (Lehmer's, with Knuth's multiplier), the same for every input.
        self.state = 0x9E3779B97F4A7C15

    def next(self) -> tuple[int, bytes] | None:
        """Tag and payload of the next choice; ``None`` after the end."""
        data, at = self.data, self.at
        if at >= len(data):
            return None
        first = data[at]
        at += 1
        tag, size = first >> 5, first & LONG
        if tag == 0:
            self.at = at
            return 0, data[at - 1 : at]
        if size == LONG:
            size = shift = 0
            while at < len(data) and shift < 28:
                byte = data[at]
                at += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
        self.at = min(at + size, len(data))
        return tag, data[at : self.at]

    def random(self, below: int) -> int:
        """A number from 0 on, below ``below``."""
        value = 0
        for _ in range(0, max(below - 1, 1).bit_length(), 32):
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) & ((1 << 64) - 1)
            value = value << 32 | self.state >> 32
        return value % below

    def integer(self) -> int:
        """A number of either sign, small as a rule: tests are written for such."""
        bits = 1 << self.random(1 + self.random(7))
        return self.random(1 << bits) - (1 << bits - 1)


def _provider(base: type, database: _Kept) -> type:
    """A provider that draws from an input. It takes the place of the one that ``fuzz_one_input`` asks for."""
    from hypothesis.internal.conjecture.data import DataObserver
    from hypothesis.internal.floats import make_float_clamper

    class Observer(DataObserver):
        """Hears of every choice that counts, those that a strategy forces among them."""

        def add(self, value: Any, **_: object) -> None:
            database.add(value)

        draw_boolean = draw_integer = draw_float = draw_string = draw_bytes = add

    class InputProvider(base):  # type: ignore[misc, valid-type]
        def __init__(self, data: Any, /, *, bytestring: bytes) -> None:
            super().__init__(data, bytestring=bytestring)
            self.choices = _Choices(bytestring)
            data.observer = Observer()

        def draw_boolean(self, p: float = 0.5) -> bool:
            if p <= 0 or p >= 1:
                return p >= 1
            if (choice := self.choices.next()) is None:
                return self.choices.random(1 << 16) < p * (1 << 16)
            return bool(choice[1] and choice[1][-1] & 1)

        def draw_integer(
            self,
            min_value: int | None = None,
            max_value: int | None = None,
            *,
            weights: dict[int, float] | None = None,
            shrink_towards: int = 0,
        ) -> int:
            if choice := self.choices.next():
                tag, payload = choice
                return _within(int.from_bytes(payload, "big", signed=tag == INTEGER), min_value, max_value)
            if min_value is not None and max_value is not None:
                return min_value + self.choices.random(max_value - min_value + 1)
            return _within(self.choices.integer(), min_value, max_value)

        def draw_float(
            self,
            *,
            min_value: float = -math.inf,
            max_value: float = math.inf,
            allow_nan: bool = True,
            smallest_nonzero_magnitude: float,
        ) -> float:
            choice = self.choices.next()
            if choice is None:
                value = self.choices.integer() / (1 << self.choices.random(8))
            elif choice[0] == FLOAT and len(choice[1]) == 8:
                [value] = struct.unpack("!d", choice[1])
            else:
                value = float(int.from_bytes(choice[1][:64], "big", signed=True))
            clamp = make_float_clamper(
                min_value, max_value, smallest_nonzero_magnitude=smallest_nonzero_magnitude, allow_nan=allow_nan
            )
            return clamp(value)

        def draw_string(self, intervals: Any, *, min_size: int = 0, max_size: int = UNBOUNDED) -> str:
            if not intervals:
                return ""
            if choice := self.choices.next():
                told = _text(choice[1])
                told = "".join(c if ord(c) in intervals else chr(intervals[ord(c) % len(intervals)]) for c in told)
                return told[:max_size].ljust(min_size, chr(intervals[0]))
            size = min_size + self.choices.random(min(max_size - min_size, SHORT) + 1)
            return "".join(chr(intervals[self.choices.random(len(intervals))]) for _ in range(size))

        def draw_bytes(self, min_size: int = 0, max_size: int = UNBOUNDED) -> bytes:
            if choice := self.choices.next():
                return choice[1][:max_size].ljust(min_size, b"\0")
            size = min_size + self.choices.random(min(max_size - min_size, SHORT) + 1)
            return bytes(self.choices.random(256) for _ in range(size))

    return InputProvider


def _within(value: int, low: int | None, high: int | None) -> int:
    """``value`` when it is allowed, else one that is and that differs where it differs."""
    if low is not None and high is not None:
        return value if low <= value <= high else low + value % (high - low + 1)
    if low is not None and value < low:
        return low + (low - value)
    if high is not None and value > high:
        return high - (value - high)
    return value


def _text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return payload.decode("latin-1")
