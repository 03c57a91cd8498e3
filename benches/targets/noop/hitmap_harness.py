import noop

import hitmap


@hitmap.harness
def run(data):
    noop.noop(data)
