"""again.py NAME=VALUE… -- COMMAND… -seed=N …: runs a libFuzzer command again whenever it ends, each time with the next
seed, until SIGTERM."""

import os
import signal
import subprocess
import sys

split = sys.argv.index("--")
variables = dict(setting.split("=", 1) for setting in sys.argv[1:split])
command = sys.argv[split + 1 :]
[at] = [at for at, word in enumerate(command) if word.startswith("-seed=")]
seed = int(command[at].removeprefix("-seed="))
process = None
# Seconds that the last one has to end in; all that it kept is on the disk by then.
PATIENCE = 5

# An exception, which leaves `wait`: a handler that waits would wait for the lock that `wait` holds.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
try:
    while True:
        command[at] = f"-seed={seed}"
        process = subprocess.Popen(command, env={**os.environ, **variables})
        process.wait()
        seed += 1
finally:
    if process:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            # One that is told so in the middle of a crash can wait for itself.
            process.kill()
            process.wait()
