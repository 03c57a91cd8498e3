import ujson

import hitmap


@hitmap.harness(expected=(ValueError, RecursionError, OverflowError))
def run(data):
    ujson.loads(data)
