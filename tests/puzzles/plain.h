// The least that makes one C++ function a Python module: run(bytes) -> None, over the plain C API.
//
// pybind11 costs seconds of compile time a file, this costs a third of one. Exceptions become Python's as
// pybind11 would have them, so that a puzzle says the same thing through either.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>

// A compiler that sees through a bug may remove it; these keep the puzzle what it says it is.
#define KEEP __attribute__((noinline, used))
inline volatile uint64_t sink;

// The byte at `at`, or 0 behind the end: puzzles then need no length checks, each an edge of its own.
static inline uint8_t at(const uint8_t *data, size_t len, size_t index) { return index < len ? data[index] : 0; }

// FNV-1a: decides "every hundredth input" without any byte of the input being special.
static inline uint64_t fnv(const uint8_t *data, size_t len) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < len; i++) hash = (hash ^ data[i]) * 0x100000001b3u;
  return hash;
}

void run(const uint8_t *data, size_t len);

static PyObject *plain_run(PyObject *, PyObject *argument) {
  char *data;
  Py_ssize_t len;
  if (PyBytes_AsStringAndSize(argument, &data, &len) < 0) return nullptr;
  try {
    run(reinterpret_cast<const uint8_t *>(data), static_cast<size_t>(len));
  } catch (const std::bad_alloc &) {
    return PyErr_NoMemory();
  } catch (const std::invalid_argument &e) {
    PyErr_SetString(PyExc_ValueError, e.what());
    return nullptr;
  } catch (const std::exception &e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
    return nullptr;
  }
  Py_RETURN_NONE;
}

#define PUZZLE(name)                                                                          \
  static PyMethodDef plain_methods[] = {{"run", plain_run, METH_O, nullptr}, {}};             \
  static PyModuleDef plain_module = {PyModuleDef_HEAD_INIT, #name, nullptr, -1, plain_methods, \
                                     nullptr, nullptr, nullptr, nullptr};                     \
  PyMODINIT_FUNC PyInit_##name() { return PyModule_Create(&plain_module); }
