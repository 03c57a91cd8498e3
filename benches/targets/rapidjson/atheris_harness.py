import sys

import atheris
import rapidjson


def run(data):
    try:
        rapidjson.loads(data)
    except (ValueError, RecursionError, OverflowError):
        pass


atheris.Setup(sys.argv, run)
atheris.Fuzz()
