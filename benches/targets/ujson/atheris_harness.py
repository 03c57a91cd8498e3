import sys

import atheris
import ujson


def run(data):
    try:
        ujson.loads(data)
    except (ValueError, RecursionError, OverflowError):
        pass


atheris.Setup(sys.argv, run)
atheris.Fuzz()
