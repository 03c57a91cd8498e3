#include <pybind11/pybind11.h>

int size(int n);

PYBIND11_MODULE(hm_scikit, m) { m.def("size", &size); }
