"""What a few calls of tvm_ffi cover in its C++ libraries, by hitmap and by memcov's names for the same."""

# First: a library with guards, which a package of more than 250,000 edges gets, is counted from here on.
import hitmap
from hitmap.compat import memcov

import tvm_ffi

CALLS = {
    "a JSON document": lambda: parse('{"shape": [1, 2.5], "name": "x\\u00e9", "flags": [true, null]}'),
    "a broken one": lambda: parse('{"shape": [1, '),
    "an array": lambda: list(tvm_ffi.convert([1, 2, 3])),
    "a map": lambda: dict(tvm_ffi.convert({"a": 1, "b": 2})),
    "a data type": lambda: tvm_ffi.dtype("float32x4"),
    "an unknown one": lambda: tvm_ffi.dtype("flaot32"),
}

parse = tvm_ffi.get_global_func("ffi.json.Parse")

cov = hitmap.coverage()
for module in cov.modules:
    print(f"{module.hits:>7,} of {module.edges:>7,} edges by the import alone: {module.name}")

history = cov.snapshot()
for name, call in CALLS.items():
    with cov.record() as run:
        try:
            call()
        except ValueError as error:
            name += f" ({error})"
    covered = run.snapshot()
    print(f"{covered.hits:>7,} edges, {(covered - history).hits:>5,} new: {name}")
    history |= covered

# Scripts for memcov write `_LIB.mcov_get_now()`. TVM's old handle, tvm._ffi.base._LIB, is gone; this one serves every
# library of the process. Its total is asked anew, because TVM loads libraries late.
_LIB = memcov.lib()
_LIB.mcov_reset()
parse("[1, 2, 3]")
print(f"{_LIB.mcov_get_now():>7,} of {_LIB.mcov_get_total():,} edges by memcov's calls: a JSON list")
