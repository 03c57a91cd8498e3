// nanobind, and mistakes that are only made with it.
#include <nanobind/nanobind.h>

#include <string>

#include "library.h"

namespace nb = nanobind;

static void call(const nb::bytes &data, int (*run)(const char *, size_t)) {
  if (run(data.c_str(), data.size()) < 0) throw nb::python_error();
}

static void run(const nb::bytes &data) { call(data, library_run); }

static void run_in_thread(const nb::bytes &data) { call(data, library_run_in_thread); }

static PyObject *volatile nothing;

BUG(binding_a) {
  sink = reinterpret_cast<long>(nb::handle(nothing).type().ptr());
  return 0;
}

BUG(binding_b) {
  sink = reinterpret_cast<long>(nb::handle(nothing).type().ptr()) + value;
  return 0;
}

BUG(binding_throw_a) {
  sink = nb::cast<long>(nb::str("x"));
  return 0;
}

BUG(binding_throw_b) {
  throw nb::value_error(("no number " + std::to_string(value)).c_str());
}

static void functions(nb::module_ &m) {
  m.def("run", &run);
  m.def("run_in_thread", &run_in_thread);
}

NB_MODULE(nano, m) { functions(m); }
NB_MODULE(_native, m) { functions(m); }
