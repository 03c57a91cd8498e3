import sys

import hitmap

import exit_in_python


@hitmap.harness
def run(data):
    exit_in_python.run(data)
    if data[:1] == b"e":
        sys.exit(4)
