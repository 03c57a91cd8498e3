import hitmap

import exception_expected


@hitmap.harness(expected=(ValueError,))
def run(data):
    exception_expected.run(data)
