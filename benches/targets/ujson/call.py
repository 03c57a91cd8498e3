import ujson


def run(data):
    try:
        ujson.loads(data)
    except (ValueError, RecursionError, OverflowError):
        pass
