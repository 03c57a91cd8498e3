import rapidjson


def run(data):
    try:
        rapidjson.loads(data)
    except (ValueError, RecursionError, OverflowError):
        pass
