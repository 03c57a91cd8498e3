# distutils: language = c++
from libcpp.string cimport string


def size(n: int) -> int:
    """A number's class, by way of a C++ string."""
    cdef string text = str(n).encode()
    if text.size() > 2:
        return 3
    return 2 if text.size() > 1 and n > 10 else 1
