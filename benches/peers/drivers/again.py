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


def end(*_: object) -> None:
    if process:
        process.terminate()
        process.wait()
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
while True:
    command[at] = f"-seed={seed}"
    process = subprocess.Popen(command, env={**os.environ, **variables})
    process.wait()
    seed += 1
