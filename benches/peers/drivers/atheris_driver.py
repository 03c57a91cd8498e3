"""Atheris's way to a harness. Plain imports: Python code is not instrumented."""

import sys

import atheris
from call import run

atheris.Setup(sys.argv, run)
atheris.Fuzz()
