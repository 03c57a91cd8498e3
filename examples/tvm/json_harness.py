"""Bytes to tvm_ffi's JSON parser and back: what it writes must parse to the same."""

import tvm_ffi

import hitmap

parse = tvm_ffi.get_global_func("ffi.json.Parse")
write = tvm_ffi.get_global_func("ffi.json.Stringify")


@hitmap.harness(expected=(ValueError,))
def json(data: bytes) -> None:
    text = write(parse(data.decode("utf-8", "replace")), None)
    assert write(parse(text), None) == text
