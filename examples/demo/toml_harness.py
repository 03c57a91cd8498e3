"""The harness of `make demo`: pytomlpp, pybind11 over the toml++ parser."""

import pytomlpp

import hitmap


@hitmap.harness(expected=(pytomlpp.DecodeError, ValueError, TypeError, OverflowError))
def parse(data: bytes) -> None:
    pytomlpp.loads(data.decode("utf-8", "replace"))
