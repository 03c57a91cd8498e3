import sys

import hitmap

import noisy


@hitmap.harness
def run(data):
    print("NOISE-NOISE-NOISE from Python", flush=True)
    print("NOISE-NOISE-NOISE from Python", file=sys.stderr)
    noisy.run(data)
