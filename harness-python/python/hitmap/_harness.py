"""Harnesses: functions that take bytes, marked as the way into a library.

A file's harnesses are those that its top level names; there is no registry beside that.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, overload

Expected = tuple[type[BaseException], ...]


class Harness:
    """A function that hands bytes to the library under test. Calling it calls the function.

    Attributes:
        function: what was decorated.
        expected: exception classes that reject an input; anything else that is raised is a finding.
        name: the function's name.
        file: the file that defines it, or ``None`` when there is none (a notebook, a C function).
    """

    function: Callable[[bytes], object]
    expected: Expected

    def __init__(self, function: Callable[[bytes], object], expected: Expected = ()) -> None:
        if not callable(function):
            raise TypeError(f"a harness is a function that takes bytes, not {type(function).__name__}")
        self.function = function
        self.expected = _classes(expected)
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
        return self.function(data)

    def __reduce__(self) -> tuple[type[Harness], tuple[Callable[[bytes], object], Expected]]:
        return Harness, (self.function, self.expected)

    def __repr__(self) -> str:
        return f"<harness {self.name} of {self.file or 'no file'}>"


@overload
def harness(function: Callable[[bytes], object], /) -> Harness: ...
@overload
def harness(*, expected: Expected | type[BaseException] = ()) -> Callable[[Callable[[bytes], object]], Harness]: ...
def harness(function=None, /, *, expected=()):
    """Marks a function that takes bytes as a harness.

    ``@hitmap.harness`` makes whatever the function raises a finding;
    ``@hitmap.harness(expected=(ValueError,))`` lets those exceptions mean "input rejected".

    Raises:
        TypeError: when it is not put on a function, or ``expected`` is not made of exception classes.
    """
    expected = _classes(expected)
    if function is None:
        return lambda function: Harness(function, expected)
    return Harness(function, expected)


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
    if inspect.iscoroutinefunction(harness.function) or inspect.isasyncgenfunction(harness.function):
        return f"{harness.name} is an async function: calling it runs nothing; call asyncio.run(...) inside a plain one"
    if inspect.isgeneratorfunction(harness.function):
        return f"{harness.name} is a generator: calling it runs nothing; remove its yield"
    try:
        inspect.signature(harness.function).bind(b"")
    except TypeError as error:
        return f"{harness.name} cannot be called with one argument, the bytes of an input: {error}"
    except ValueError:
        pass  # A C function that does not tell its parameters.
    return None
