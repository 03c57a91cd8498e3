"""What coverage costs while the target runs: the same library built once for each instrumentation.

`builds.py` has the builds, `workloads/` what is run, `standins/` callbacks that cost what those of other tools cost,
`timer.c` is the program that loads one build and times it, `count.py` counts how many edges a call runs over, and
`debian.py` fetches the sources.
"""
