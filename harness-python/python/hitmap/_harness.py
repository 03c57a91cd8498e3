"""Harnesses: functions that take bytes, marked as the way into a library.

A file's harnesses are those that its top level names; there is no registry beside that.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, overload

Expected = tuple[type[BaseException], ...]
Mutator = Callable[[Any, int, int], Any]
Crossover = Callable[[Any, Any, int, int], Any]
Generator = Callable[[int], Any]
Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]


class Harness:
    """A function that hands an input to the library under test. Calling it, with bytes, does what a run does.

    Attributes:
        function: what was decorated.
        expected: exception classes that reject an input; anything else that is raised is a finding.
        mutator, crossover, generator: functions that make inputs, or ``None``; see `harness`.
        decode, encode: the way from bytes to what the functions take, and back, or ``None``.
        name: the function's name.
        file: the file that defines it, or ``None`` when there is none (a notebook, a C function).
    """

    function: Callable[[Any], object]
    expected: Expected
    mutator: Mutator | None
    crossover: Crossover | None
    generator: Generator | None
    decode: Decode | None
    encode: Encode | None

    def __init__(
        self,
        function: Callable[[Any], object],
        expected: Expected = (),
        mutator: Mutator | None = None,
        crossover: Crossover | None = None,
        generator: Generator | None = None,
        decode: Decode | None = None,
        encode: Encode | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"a harness is a function that takes bytes, not {type(function).__name__}")
        self.function = function
        self.expected = _classes(expected)
        parts = {"mutator": mutator, "crossover": crossover, "generator": generator, "decode": decode, "encode": encode}
        _check_parts(parts)
        vars(self).update(parts)
        # Name, docstring and signature, so that it looks like the function that it is.
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def file(self) -> str | None:
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        name = getattr(code, "co_filename", "<none>")
        return None if name.startswith("<") else name

    def __call__(self, data: bytes, /) -> Any:
        return self.function(data if self.decode is None else self.decode(data))

    def __reduce__(self) -> tuple[type[Harness], tuple[Any, ...]]:
        parts = (self.mutator, self.crossover, self.generator, self.decode, self.encode)
        return Harness, (self.function, self.expected, *parts)

    def __repr__(self) -> str:
        return f"<harness {self.name} of {self.file or 'no file'}>"


@overload
def harness(function: Callable[[bytes], object], /) -> Harness: ...
@overload
def harness(
    *,
    expected: Expected | type[BaseException] = (),
    mutator: Mutator | None = None,
    crossover: Crossover | None = None,
    generator: Generator | None = None,
    decode: Decode | None = None,
    encode: Encode | None = None,
) -> Callable[[Callable[[Any], object]], Harness]: ...
def harness(
    function=None, /, *, expected=(), mutator=None, crossover=None, generator=None, decode=None, encode=None
):
    """Marks a function that takes bytes as a harness.

    ``@hitmap.harness`` makes whatever the function raises a finding;
    ``@hitmap.harness(expected=(ValueError,))`` lets those exceptions mean "input rejected".

    The other arguments let the harness make inputs itself. They are called in the worker, beside the library;
    ``seed`` is an int below 2**32, and ``random`` is seeded with it before each call.

    Args:
        expected: exception classes.
        mutator: ``mutator(data, max_size, seed)`` returns a changed input.
        crossover: ``crossover(data1, data2, max_size, seed)`` makes one input of two.
        generator: ``generator(seed)`` makes one of nothing; a campaign without seeds begins with some.
        decode: ``decode(data)`` makes a value of bytes. The harness and the functions above take and return such
            values then; bytes at which it raises are rejected.
        encode: ``encode(value)`` makes bytes of a value again. ``max_size`` is what it may return.

    Raises:
        TypeError: when it is not put on a function, ``expected`` is not made of exception classes, or a function
            cannot be called as it will be.
    """
    expected = _classes(expected)
    parts = {"mutator": mutator, "crossover": crossover, "generator": generator, "decode": decode, "encode": encode}
    _check_parts(parts)
    if function is None:
        return lambda function: Harness(function, expected, **parts)
    return Harness(function, expected, **parts)


# What each function is called with.
_CALLED_WITH = {
    "mutator": ("data", "max_size", "seed"),
    "crossover": ("data1", "data2", "max_size", "seed"),
    "generator": ("seed",),
    "decode": ("data",),
    "encode": ("value",),
}


def _check_parts(parts: dict[str, object]) -> None:
    for part, function in parts.items():
        if function is None:
            continue
        if not callable(function):
            raise TypeError(f"{part}= takes a function, not {function!r}")
        arguments = _CALLED_WITH[part]
        try:
            inspect.signature(function).bind(*arguments)
        except TypeError as error:
            raise TypeError(f"{part}= is called as {part}({', '.join(arguments)}): {error}") from None
        except ValueError:
            pass  # A C function that does not tell its parameters.
    makers = [part for part in ("mutator", "crossover", "generator") if parts[part] is not None]
    if parts["encode"] is not None and parts["decode"] is None:
        raise TypeError("encode= without decode=: what it returns could not be read again")
    if parts["decode"] is not None and parts["encode"] is None and makers:
        raise TypeError(f"decode= and {makers[0]}= without encode=: what {makers[0]} returns could not be kept as bytes")


def _classes(expected: object) -> Expected:
    classes = expected if isinstance(expected, tuple) else (expected,)
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(f"expected= takes exception classes, as in expected=(ValueError,); {one!r} is none")
    return classes


def of_module(module: ModuleType) -> dict[str, Harness]:
    """The harnesses that a module's top level names, each once, by the first name that it has there."""
    found: dict[str, Harness] = {}
    for name, value in vars(module).items():
        if isinstance(value, Harness) and value not in found.values():
            found[name] = value
    return found


def what_is_wrong(harness: Harness) -> str | None:
    """Why a harness cannot work, in words for the user; ``None`` when nothing is known against it."""
    for part in ("", "decode", "encode", "mutator", "crossover", "generator"):
        function = getattr(harness, part or "function")
        name = f"{part}= of {harness.name}" if part else harness.name
        if _is(function, inspect.iscoroutinefunction) or _is(function, inspect.isasyncgenfunction):
            return f"{name} is an async function: calling it runs nothing; call asyncio.run(...) inside a plain one"
        if _is(function, inspect.isgeneratorfunction):
            return f"{name} is a generator: calling it runs nothing; remove its yield"
    try:
        inspect.signature(harness.function).bind(b"")
    except TypeError as error:
        return f"{harness.name} cannot be called with one argument, the bytes of an input: {error}"
    except ValueError:
        pass  # A C function that does not tell its parameters.
    return None


def _is(function: object, kind: Callable[[object], bool]) -> bool:
    """Whether a call is of that kind: that of a function, of a partial of one, or of an object."""
    return kind(function) or kind(getattr(type(function), "__call__", None))


def place(function: object) -> str:
    """``name (file.py:12)`` of a function, as far as it tells."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    try:
        code = getattr(inspect.unwrap(function), "__code__", None)  # type: ignore[arg-type]
    except ValueError:
        code = None
    return name if code is None else f"{name} ({Path(code.co_filename).name}:{code.co_firstlineno})"
