// Ways to raise: two functions each, which differ in nothing but their places. Bindings as in ends.cpp.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <future>
#include <map>
#include <new>
#include <stdexcept>
#include <string>

#define WAY extern "C" __attribute__((noinline, noclone)) void

static volatile int sink;
static PyObject *own_error;

#ifdef PYBIND
#include <pybind11/pybind11.h>
#define RAISE(type, text) do { PyErr_SetString(type, text); throw pybind11::error_already_set(); } while (0)
#else
#define RAISE(type, text) do { PyErr_SetString(type, text); return; } while (0)
#endif

WAY way_throw_a() { throw std::out_of_range("same words"); }
WAY way_throw_b() { throw std::out_of_range("same words"); }
WAY way_deep_a() { way_throw_a(); sink = sink + 1; }
WAY way_bad_alloc_a() { throw std::bad_alloc(); }
WAY way_bad_alloc_b() { throw std::bad_alloc(); }
WAY way_int_a() { throw 42; }
WAY way_int_b() { throw 43; }
WAY way_later_a() {
    auto result = std::async(std::launch::async, [] { way_throw_a(); });
    result.get();
}
WAY way_later_b() {
    auto result = std::async(std::launch::async, [] { way_throw_b(); });
    result.get();
}
WAY way_again_a() { try { way_throw_a(); } catch (...) { throw; } }
WAY way_again_b() { try { way_throw_b(); } catch (...) { throw; } }
WAY way_raise_a() { RAISE(PyExc_LookupError, "same words"); }
WAY way_raise_b() { RAISE(PyExc_LookupError, "same words"); }
WAY way_format_a() { PyErr_Format(PyExc_OSError, "%d", 5); RAISE(PyExc_OSError, "5"); }
WAY way_format_b() { PyErr_Format(PyExc_OSError, "%d", 5); RAISE(PyExc_OSError, "5"); }
WAY way_own_a() { RAISE(own_error, "same words"); }
WAY way_own_b() { RAISE(own_error, "same words"); }
WAY way_memory_a() { PyErr_NoMemory();
#ifdef PYBIND
    throw pybind11::error_already_set();
#endif
}
WAY way_memory_b() { PyErr_NoMemory();
#ifdef PYBIND
    throw pybind11::error_already_set();
#endif
}
// A result with an exception set: CPython makes a SystemError of it.
WAY way_set_a() { PyErr_SetString(PyExc_MemoryError, "same words"); }
WAY way_set_b() { PyErr_SetString(PyExc_KeyError, "same words"); }

#define ENTRY(name) {#name, way_##name}
#define BOTH(name) ENTRY(name##_a), ENTRY(name##_b)
static const std::map<std::string, void (*)()> ways = {
    BOTH(throw), ENTRY(deep_a), BOTH(bad_alloc), BOTH(int), BOTH(later), BOTH(again), BOTH(raise), BOTH(format),
    BOTH(own), BOTH(memory), BOTH(set),
};

extern "C" __attribute__((noinline, noclone)) void begin(void (*way)()) {
    way();
    sink = sink + 1;
}

#ifdef PYBIND
PYBIND11_MODULE(raises_pybind, m) {
    own_error = PyErr_NewException("raises.own_error", PyExc_RuntimeError, nullptr);
    m.def("go", [](const std::string &name) { begin(ways.at(name)); });
}
#else
// By hand, what generated bindings do.
static PyObject *raises_go(PyObject *, PyObject *arg) {
    const char *name = PyUnicode_AsUTF8(arg);
    if (!name) return nullptr;
    try {
        begin(ways.at(name));
    } catch (const std::bad_alloc &e) {
        return PyErr_NoMemory();
    } catch (const std::exception &e) {
        PyErr_SetString(PyExc_RuntimeError, e.what());
        return nullptr;
    } catch (...) {
        PyErr_SetString(PyExc_RuntimeError, "unknown");
        return nullptr;
    }
    if (PyErr_Occurred() && std::string(name).compare(0, 3, "set") != 0) return nullptr;
    Py_RETURN_NONE;
}
static PyMethodDef methods[] = {{"go", raises_go, METH_O, nullptr}, {}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "raises", nullptr, -1, methods};
PyMODINIT_FUNC PyInit_raises(void) {
    own_error = PyErr_NewException("raises.own_error", PyExc_RuntimeError, nullptr);
    return PyModule_Create(&module);
}
#endif
