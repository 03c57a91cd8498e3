import os

import bugs

import hitmap

bug = getattr(bugs, os.environ["BENCH_FUNCTION"])


@hitmap.harness(expected=ValueError)
def run(data):
    bug(data)
