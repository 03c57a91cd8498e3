// C++ exceptions. Where a binding translates them they become Python's, elsewhere nobody catches them.
#include <unistd.h>

#include <exception>
#include <future>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include "library.h"

namespace odd {
struct Broken : std::exception {
  const char *what() const noexcept override { return "the table is broken"; }
};
}  // namespace odd

BUG(throw_a) {
  if (value >= 0) throw std::runtime_error("no header after " + std::to_string(value) + " bytes");
  return 0;
}

BUG(throw_b) {
  sink = value;
  if (value >= 0) throw std::runtime_error("index " + std::to_string(value) + " is too large");
  return 0;
}

BUG(throw_type) {
  if (value >= 0) throw odd::Broken();
  return 0;
}

BUG(throw_int) {
  if (value >= 0) throw static_cast<int>(value);
  return 0;
}

BUG(throw_memory) {
  if (value >= 0) throw std::bad_alloc();
  return 0;
}

// One type, one text, two functions.
BUG(throw_same_a) {
  if (value >= 0) throw std::invalid_argument("bad input");
  return 0;
}

BUG(throw_same_b) {
  sink = value;
  if (value >= 0) throw std::invalid_argument("bad input");
  return 0;
}

// libstdc++ throws, for the library.
BUG(throw_at_a) {
  sink = std::string().at(value);
  return 0;
}

BUG(throw_at_b) {
  sink = std::string("abc").substr(4 + value).size();
  return 0;
}

// Thrown on by one line, from two places.
KEEP static void header(long value) {
  sink = value;
  throw std::runtime_error("a bad header, " + std::to_string(value));
}

KEEP static void body(long value) {
  sink = value + 1;
  throw std::runtime_error("a bad body, " + std::to_string(value));
}

BUGS(cleans_up, rethrow_a, rethrow_b) {
  try {
    first ? header(value) : body(value);
  } catch (...) {
    sink = 0;
    throw;
  }
  return 0;
}

// Thrown in a thread, and carried to the one that waits.
KEEP static int works_a(long value) {
  if (value >= 0) throw std::domain_error("worker " + std::to_string(value) + " has no left side");
  return 0;
}

KEEP static int works_b(long value) {
  if (value >= 0) throw std::domain_error("worker " + std::to_string(value) + " has no right side");
  return 1;
}

BUGS(waits, carried_a, carried_b) {
  auto later = std::async(std::launch::async, first ? works_a : works_b, value);
  sink = later.get();
  return 0;
}

// Nobody can catch these.
KEEP static void promises_a(long value) noexcept {
  if (value >= 0) throw std::length_error("promise " + std::to_string(value));
}

KEEP static void promises_b(long value) noexcept {
  sink = value;
  if (value >= 0) throw std::length_error("promise " + std::to_string(value));
}

BUG(noexcept_a) {
  promises_a(value);
  return 0;
}

BUG(noexcept_b) {
  promises_b(value);
  return 0;
}

KEEP static void promises_memory(long value) noexcept {
  if (value >= 0) throw std::bad_alloc();
}

BUG(noexcept_memory) {
  promises_memory(value);
  return 0;
}

KEEP static void job_a(long value) {
  if (value >= 0) throw std::runtime_error("job " + std::to_string(value));
}

KEEP static void job_b(long value) {
  sink = value;
  if (value >= 0) throw std::runtime_error("job " + std::to_string(value));
}

KEEP static void job_memory(long value) {
  if (value >= 0) throw std::bad_alloc();
}

BUG(thread_throw_a) {
  std::thread thread(job_a, value);
  thread.join();
  return 0;
}

BUG(thread_throw_b) {
  std::thread thread([value] { job_b(value); });
  thread.join();
  return 0;
}

BUG(thread_throw_memory) {
  std::thread thread(job_memory, value);
  thread.join();
  return 0;
}

// A std::thread that is still joinable is destroyed: std::terminate, without an exception.
BUG(unjoined_a) {
  std::thread thread([] { pause(); });
  sink = value;
  return 0;
}

BUG(unjoined_b) {
  std::thread thread([] { pause(); });
  sink = value + 1;
  return 0;
}

// Handlers of the target's own.
static void says_and_aborts() {
  static const char text[] = "the library terminates\n";
  if (write(2, text, sizeof text - 1) > 0) abort();
}

static void says_and_leaves() { _exit(3); }

#define PROMISES(name)                                                                  \
  KEEP static void name(long value) noexcept {                                          \
    if (value >= 0) throw std::length_error("promise " + std::to_string(value));          \
  }
PROMISES(handled_a)
PROMISES(handled_b)
PROMISES(left_a)
PROMISES(left_b)

BUG(own_terminate_a) {
  std::set_terminate(says_and_aborts);
  handled_a(value);
  return 0;
}

BUG(own_terminate_b) {
  std::set_terminate(says_and_aborts);
  handled_b(value);
  return 0;
}

BUG(terminate_leaves_a) {
  std::set_terminate(says_and_leaves);
  left_a(value);
  return 0;
}

BUG(terminate_leaves_b) {
  std::set_terminate(says_and_leaves);
  left_b(value);
  return 0;
}
