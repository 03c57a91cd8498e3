import msgpack

import hitmap


@hitmap.harness(expected=(ValueError, RecursionError, OverflowError, TypeError, msgpack.UnpackException))
def run(data):
    msgpack.packb(msgpack.unpackb(data, strict_map_key=False))
