import pytomlpp


def run(data):
    try:
        pytomlpp.loads(data.decode("utf-8", "replace"))
    except (pytomlpp.DecodeError, ValueError, RecursionError, OverflowError, TypeError):
        pass
