// Calls that do not come back.
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <mutex>

#include "library.h"

static bool goes_on() { return sink != -1; }

KEEP static void spins_a(long value) {
  while (goes_on()) sink = value;
}

KEEP static void spins_b(long value) {
  while (goes_on()) sink = value + 1;
}

BUG(spin_a) {
  spins_a(value);
  return 0;
}

BUG(spin_b) {
  spins_b(value);
  return 0;
}

// The loop is in one function, the time is spent in what it calls.
KEEP static void helper_x(long value) {
  for (long i = 0; i < 50000; i++) sink = value + i;
}

KEEP static void helper_y(long value) {
  for (long i = 0; i < 70000; i++) sink = value - i;
}

KEEP static void helper_z(long value) {
  helper_x(value);
  sink = 3;
}

KEEP static void loops_over_helpers(long value) {
  while (goes_on()) {
    helper_x(value);
    helper_y(value);
    helper_z(value);
  }
}

BUG(spin_helpers) {
  loops_over_helpers(value);
  return 0;
}

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;

BUG(lock_a) {
  pthread_mutex_lock(&first);
  pthread_mutex_lock(&first);
  return 0;
}

BUG(lock_b) {
  sink = value;
  pthread_mutex_lock(&second);
  pthread_mutex_lock(&second);
  return 0;
}

BUG(sleep_a) {
  sleep(1000 + value);
  return 0;
}

BUG(sleep_b) {
  timespec long_time = {1000 + value, 0};
  while (nanosleep(&long_time, nullptr) == 0) sink = value;
  return 0;
}

// Short: a harness that calls this in a loop of its own hangs in Python.
KEEP static void short_x(long value) {
  for (long i = 0; i < 30000; i++) sink = value + i;
}

KEEP static void short_y(long value) {
  for (long i = 0; i < 40000; i++) sink = value - i;
}

BUG(short_call) {
  value % 2 ? short_x(value) : short_y(value);
  return 0;
}
