// The least that hitmap can be guided by, beside libraries that are not instrumented.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *touch(PyObject *, PyObject *argument) {
  char *data;
  Py_ssize_t len;
  if (PyBytes_AsStringAndSize(argument, &data, &len) < 0) return nullptr;
  return PyBool_FromLong(len > 0 && data[0] == 'x');
}

static PyMethodDef methods[] = {{"touch", touch, METH_O, nullptr}, {}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "probe", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};
PyMODINIT_FUNC PyInit_probe() { return PyModule_Create(&module); }
