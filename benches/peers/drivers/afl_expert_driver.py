"""AFL++'s runtime by ctypes: fork server after the imports, persistent loop, inputs in shared memory."""

import ctypes
import os

from call import run

runtime = ctypes.CDLL(None)
ctypes.c_int.in_dll(runtime, "__afl_sharedmem_fuzzing").value = 1
runtime.__afl_manual_init()
data = ctypes.POINTER(ctypes.c_ubyte).in_dll(runtime, "__afl_fuzz_ptr")
length = ctypes.POINTER(ctypes.c_uint).in_dll(runtime, "__afl_fuzz_len")
loop, string_at = runtime.__afl_persistent_loop, ctypes.string_at
while loop(100_000):
    run(string_at(data, length[0]))
os._exit(0)
