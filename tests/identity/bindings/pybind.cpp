// pybind11, and mistakes that are only made with it.
#include <pybind11/pybind11.h>

#include "library.h"

namespace py = pybind11;

static void call(const py::bytes &data, int (*run)(const char *, size_t)) {
  std::string_view text = data;
  if (run(text.data(), text.size()) < 0) throw py::error_already_set();
}

static void run(const py::bytes &data) { call(data, library_run); }

static void run_in_thread(const py::bytes &data) { call(data, library_run_in_thread); }

static PyObject *volatile nothing;

BUG(binding_a) {
  sink = py::handle(static_cast<PyObject *>(nothing)).ref_count();
  return 0;
}

BUG(binding_b) {
  sink = py::handle(static_cast<PyObject *>(nothing)).ref_count() + 1;
  return 0;
}

BUG(binding_throw_a) {
  sink = py::cast<long>(py::str("x" + std::to_string(value)));
  return 0;
}

BUG(binding_throw_b) {
  throw py::value_error("no number " + std::to_string(value));
}

static void functions(py::module_ &m) {
  m.def("run", &run);
  m.def("run_in_thread", &run_in_thread);
}

PYBIND11_MODULE(pybind, m) { functions(m); }
PYBIND11_MODULE(_native, m) { functions(m); }
