// What the number of edges costs: a function of some 50 ns that runs a few guards of a table of EDGES. The guards are
// laid out by hand, since compiling a million branches takes minutes and runs no differently.
#include <Python.h>
#include <stdint.h>

extern "C" void __sanitizer_cov_trace_pc_guard(uint32_t *guard);

__attribute__((section("__sancov_guards"), used)) static uint32_t guards[EDGES] = {1};

#define RUN 16
#define CLUSTERS (EDGES / RUN)

// The guards of one cluster, by the input's length: few kinds of runs, so that nearly all are boring.
static PyObject *run(PyObject *, PyObject *data) {
  uint32_t first = (uint32_t)PyBytes_GET_SIZE(data) % 16 * 7919 % CLUSTERS * RUN;
  for (uint32_t at = 0; at < RUN; at++) __sanitizer_cov_trace_pc_guard(&guards[first + at]);
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"run", run, METH_O, nullptr}, {}};

#define TEXT(name) #name
#define NAME(name) TEXT(name)
#define INIT(name) PyInit_##name
#define INIT_OF(name) INIT(name)
static PyModuleDef module = {PyModuleDef_HEAD_INIT, NAME(MODULE), nullptr, -1, methods};
PyMODINIT_FUNC INIT_OF(MODULE)(void) { return PyModule_Create(&module); }
