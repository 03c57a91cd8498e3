// Python's plain C API, which catches no C++ exception.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "library.h"

static PyObject *call(PyObject *argument, int (*run)(const char *, size_t)) {
  char *data;
  Py_ssize_t len;
  if (PyBytes_AsStringAndSize(argument, &data, &len) < 0) return nullptr;
  if (run(data, static_cast<size_t>(len)) < 0) return nullptr;
  Py_RETURN_NONE;
}

static PyObject *run(PyObject *, PyObject *argument) { return call(argument, library_run); }

static PyObject *run_in_thread(PyObject *, PyObject *argument) { return call(argument, library_run_in_thread); }

static PyMethodDef methods[] = {
    {"run", run, METH_O, nullptr}, {"run_in_thread", run_in_thread, METH_O, nullptr}, {}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "capi", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

// The second name is that of many a package's extension.
PyMODINIT_FUNC PyInit_capi() { return PyModule_Create(&module); }
PyMODINIT_FUNC PyInit__native() { return PyModule_Create(&module); }
