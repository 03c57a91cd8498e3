import ujson


def run(data):
    """Two bytes of indent, then JSON that is read and written again."""
    indent = int.from_bytes(data[:2], "little") % 1024
    try:
        ujson.dumps(ujson.loads(data[2:]), indent=indent)
    except (ValueError, RecursionError, OverflowError, TypeError):
        pass
