// Bugs that need Python's C API.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "library.h"

// ---- exceptions, raised in C ------------------------------------------------------------------

BUG(raise_a) {
  PyErr_Format(PyExc_ValueError, "no end after byte %ld", value);
  return -1;
}

BUG(raise_b) {
  PyErr_Format(PyExc_ValueError, "bad length %ld in list", value);
  return -1;
}

BUG(raise_type) {
  PyErr_SetString(PyExc_TypeError, "not a list");
  return -1;
}

// One type, one text, two functions.
BUG(raise_same_a) {
  PyErr_SetString(PyExc_KeyError, "key");
  return -1;
}

BUG(raise_same_b) {
  sink = value;
  PyErr_SetString(PyExc_KeyError, "key");
  return -1;
}

BUG(no_memory_a) {
  PyErr_NoMemory();
  return -1;
}

BUG(no_memory_b) {
  sink = value;
  PyErr_NoMemory();
  return -1;
}

// The interpreter notices that a call succeeded with an error set: SystemError, whose cause is the error.
static int succeeds_with(PyObject *type, const char *text, long value) {
  PyErr_Format(type, text, value);
  return 0;
}

BUG(cause_type) { return succeeds_with(PyExc_TypeError, "unhashable type %ld", value); }
BUG(cause_value) { return succeeds_with(PyExc_ValueError, "odd number %ld", value); }

BUG(cause_memory) {
  sink = value;
  PyErr_NoMemory();
  return 0;
}

// Recursion that Python's own limit ends.
KEEP static int visits_a(long depth) {
  if (Py_EnterRecursiveCall(" while visiting a list")) return -1;
  int result = visits_a(depth + 1);
  Py_LeaveRecursiveCall();
  return result;
}

KEEP static int visits_b(long depth) {
  if (Py_EnterRecursiveCall(" while visiting a tree")) return -1;
  int result = visits_b(depth + 1);
  sink = depth;
  Py_LeaveRecursiveCall();
  return result;
}

BUG(recurse_a) { return visits_a(value); }
BUG(recurse_b) { return visits_b(value); }

// ---- crashes in Python's headers and in the interpreter ---------------------------------------

static PyObject *volatile nothing;  // what a failed call returned

BUG(decref_a) {
  Py_DECREF(nothing);
  return 0;
}

BUG(decref_b) {
  sink = value;
  Py_INCREF(nothing);
  return 0;
}

// Two mistakes in one function.
BUGS(drops, decref_line_a, decref_line_b) {
  PyObject *item = nothing, *key = nothing;
  if (first) {
    Py_DECREF(item);
  }
  sink = 1;
  Py_DECREF(key);
  return 0;
}

// The instruction that fails is the interpreter's.
BUG(interpreter_a) {
  sink = PyObject_IsTrue(nothing);
  return 0;
}

BUG(interpreter_b) {
  sink = PyObject_Hash(nothing);
  return 0;
}

BUG(python_fatal_a) {
  Py_FatalError("the list is broken");
  return 0;
}

BUG(python_fatal_b) {
  sink = value;
  Py_FatalError("the tree is broken");
  return 0;
}
