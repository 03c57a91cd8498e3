import noop


def run(data):
    noop.noop(data)
