"""What coverage costs while the target runs: the same library built once for each instrumentation.

`builds.py` has the builds, `workloads/` what is run, `standins/` callbacks that cost what those of other tools cost, and
`timer.c` the program that loads one build and times it. `debian.py` fetches the sources.
"""
