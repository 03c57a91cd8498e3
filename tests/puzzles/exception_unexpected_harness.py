import hitmap

import exception_unexpected


@hitmap.harness(expected=(ValueError,))
def run(data):
    exception_unexpected.run(data)
    {}[data] if data[:1] == b"k" else None
