#include <Python.h>

// Volatile, so that each branch stays one.
static PyObject *size(PyObject *self, PyObject *number) {
  (void)self;
  long n = PyLong_AsLong(number);
  volatile int digits = 1;
  if (n > 10) digits = 2;
  if (n > 100) digits = 3;
  return PyLong_FromLong(digits);
}

static PyMethodDef methods[] = {{"size", size, METH_O, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "hm_meson", NULL, -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit_hm_meson(void) { return PyModule_Create(&module); }
