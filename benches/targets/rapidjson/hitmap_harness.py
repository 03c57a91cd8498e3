import rapidjson

import hitmap


@hitmap.harness(expected=(ValueError, RecursionError, OverflowError))
def run(data):
    rapidjson.loads(data)
