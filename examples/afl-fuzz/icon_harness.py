"""Hands bytes to the icon reader, which is built beside this file."""

import ctypes
from pathlib import Path

import hitmap

icon = ctypes.CDLL(str(Path(__file__).parent / "libicon.so"))
icon.icon_read.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
icon.icon_read.restype = ctypes.c_long


@hitmap.harness(expected=(ValueError,))
def read(data: bytes):
    entries = icon.icon_read(data, len(data))
    if entries < 0:
        raise ValueError("no icon")
