// Bugs that a fresh process does not show: the library remembers.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "library.h"

KEEP static void gives_out() { abort(); }

BUG(state_abort) {
  static int calls;
  if (++calls == 40) gives_out();
  return 0;
}

KEEP static int raises_in_between(PyObject *type, int at, int *calls) {
  if (++*calls != at) return 0;
  PyErr_Format(type, "after %d calls", at);
  return -1;
}

BUG(state_key) {
  static int calls;
  return raises_in_between(PyExc_KeyError, 20, &calls);
}

BUG(state_reference) {
  static int calls;
  return raises_in_between(PyExc_ReferenceError, 30, &calls);
}

BUG(state_overflow) {
  static int calls;
  return raises_in_between(PyExc_OverflowError, 41, &calls);
}

// One bug hides behind another: in a fresh process the second comes first.
static int counted;

BUG(state_count) {
  counted = counted + 1;
  return 0;
}

KEEP static void shows_later() { abort(); }
KEEP static void shows_at_once() { *nowhere = 1; }

BUG(state_masked) {
  if (counted > 3)
    shows_later();
  else
    shows_at_once();
  return 0;
}
