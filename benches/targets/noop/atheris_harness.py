import sys

import atheris
import noop


def run(data):
    noop.noop(data)


atheris.Setup(sys.argv, run)
atheris.Fuzz()
