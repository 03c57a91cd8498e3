import hitmap
import rejects_all


@hitmap.harness(expected=ValueError)
def run(data):
    rejects_all.run(data)
    raise ValueError("not this one")
