import msgpack


def run(data):
    try:
        msgpack.packb(msgpack.unpackb(data, strict_map_key=False))
    except (ValueError, RecursionError, OverflowError, TypeError, msgpack.UnpackException):
        pass
