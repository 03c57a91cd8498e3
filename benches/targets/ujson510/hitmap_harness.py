import ujson

import hitmap


@hitmap.harness(expected=(ValueError, RecursionError, OverflowError, TypeError))
def run(data):
    """Two bytes of indent, then JSON that is read and written again."""
    indent = int.from_bytes(data[:2], "little") % 1024
    ujson.dumps(ujson.loads(data[2:]), indent=indent)
