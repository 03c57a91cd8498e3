import pytomlpp

import hitmap


@hitmap.harness(expected=(pytomlpp.DecodeError, ValueError, RecursionError, OverflowError, TypeError))
def run(data):
    pytomlpp.loads(data.decode("utf-8", "replace"))
