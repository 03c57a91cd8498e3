#include <pybind11/pybind11.h>

// Volatile, so that each branch stays one.
static int size(int n) {
  volatile int digits = 1;
  if (n > 10) digits = 2;
  if (n > 100) digits = 3;
  return digits;
}

PYBIND11_MODULE(hm_cmake, m) { m.def("size", &size); }
