// Boost.Python, and mistakes that are only made with it.
#include <boost/optional.hpp>
#include <boost/python.hpp>

#include "library.h"

namespace bp = boost::python;

static void call(const bp::object &data, int (*run)(const char *, size_t)) {
  char *text;
  Py_ssize_t len;
  if (PyBytes_AsStringAndSize(data.ptr(), &text, &len) < 0) bp::throw_error_already_set();
  if (run(text, static_cast<size_t>(len)) < 0) bp::throw_error_already_set();
}

static void run(const bp::object &data) { call(data, library_run); }

static void run_in_thread(const bp::object &data) { call(data, library_run_in_thread); }

BUG(binding_a) {
  boost::optional<long> none;
  sink = *none;
  return 0;
}

BUG(binding_b) {
  boost::optional<long> none;
  sink = *none + value;
  return 0;
}

BUG(binding_throw_a) {
  sink = bp::extract<long>(bp::str("x"))();
  return 0;
}

BUG(binding_throw_b) {
  PyErr_Format(PyExc_ValueError, "no number %ld", value);
  bp::throw_error_already_set();
  return 0;
}

static void functions() {
  bp::def("run", &run);
  bp::def("run_in_thread", &run_in_thread);
}

BOOST_PYTHON_MODULE(boosted) { functions(); }
BOOST_PYTHON_MODULE(_native) { functions(); }
