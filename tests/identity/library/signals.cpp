// Crashes: what the processor, the C library or the library itself refuses.
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "library.h"
#include "own.h"
#include "third/third.h"

#undef NDEBUG
#include <cassert>

// ---- no memory there --------------------------------------------------------------------------

BUG(null_a) {
  *nowhere = value;
  return 0;
}

BUG(null_b) {
  sink = nowhere[2 + value % 8];
  return 0;
}

BUG(wild_a) {
  sink = *reinterpret_cast<volatile long *>(0x4141414100000000 + 8 * value);
  return 0;
}

BUG(wild_b) {
  *reinterpret_cast<volatile char *>(0x100000000 + value) = 1;
  return 0;
}

// Two mistakes in one function.
BUGS(picks, line_a, line_b) {
  if (first) {
    *nowhere = value;
    sink = 1;
  } else {
    sink = 2;
    nowhere[3] = value;
  }
  return 0;
}

__attribute__((always_inline)) static inline void inlined_a(long value) {
  nowhere[1] = value;
  sink = 1;
}

__attribute__((always_inline)) static inline void inlined_b(long value) {
  sink = value;
  sink = nowhere[2];
}

BUGS(holds, inline_a, inline_b) {
  if (first)
    inlined_a(value);
  else
    inlined_b(value);
  return 0;
}

// One mistake in a template, for two types.
template <class T>
KEEP static void stores(T value) {
  *reinterpret_cast<T *volatile *>(const_cast<long *volatile *>(&nowhere))[0] = value;
}

BUG(template_int) {
  stores<int>(static_cast<int>(value));
  return 0;
}

BUG(template_long) {
  stores<long>(value);
  return 0;
}

// The instruction that fails is the C library's.
BUG(string_a) {
  sink = static_cast<long>(strlen(reinterpret_cast<const char *>(nowhere)));
  return 0;
}

BUG(string_b) {
  char *volatile to = reinterpret_cast<char *>(nowhere);
  const char *volatile from = "a long enough text to be copied by a call, one hundred bytes of it and then a few more bytes";
  memcpy(to, from, 80);
  sink = value;
  return 0;
}

static int (*volatile no_function)(long) = nullptr;

BUG(call_a) {
  sink = no_function(value);
  return 0;
}

BUG(call_b) {
  sink = no_function(value) + 1;
  return 0;
}

// A call through a pointer that was overwritten: no code there, but a return address on the stack.
BUG(call_wild) {
  auto wild = reinterpret_cast<int (*)(long)>(0x4141414141410000 + value * 16);
  sink = wild(value);
  return 0;
}

BUG(bus_a) {
  int empty = memfd_create("empty", MFD_CLOEXEC);
  volatile char *page = static_cast<volatile char *>(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, empty, 0));
  sink = page[value % 64];
  return 0;
}

BUG(bus_b) {
  int empty = memfd_create("empty", MFD_CLOEXEC);
  volatile char *page = static_cast<volatile char *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, empty, 0));
  page[value % 64] = 1;
  return 0;
}

// ---- traps ------------------------------------------------------------------------------------

BUG(divide_a) {
  sink = value / (sink - sink);
  return 0;
}

BUG(divide_b) {
  sink = value % (sink - sink);
  return 0;
}

BUG(trap_a) {
  if (value >= 0) __builtin_trap();
  return 0;
}

BUG(trap_b) {
  sink = value;
  if (value >= 0) __builtin_trap();
  return 0;
}

// ---- far down, and no endless recursion -------------------------------------------------------

KEEP static long group(long depth, bool first, long value);

KEEP static long item(long depth, bool first, long value) {
  if (depth > 0) return group(depth - 1, first, value) + 1;
  if (first) *nowhere = value;
  nowhere[1] = value;
  return 0;
}

KEEP static long group(long depth, bool first, long value) { return item(depth, first, value) + 1; }

BUGS(goes_deep, deep_a, deep_b) {
  sink = item(40 + value % 3 * 80, first, value);
  return 0;
}

// ---- aborts and assertions --------------------------------------------------------------------

BUG(abort_a) {
  if (value >= 0) abort();
  return 0;
}

BUG(abort_b) {
  sink = value;
  if (value >= 0) abort();
  return 0;
}

BUG(assert_a) {
  assert(value < 0);
  return 0;
}

BUG(assert_b) {
  assert(value < -1 && "never so small");
  return 0;
}

// One text at two lines.
BUGS(same_assertion, assert_line_a, assert_line_b) {
  if (first)
    assert(value < 0);
  else
    assert(value < 0);
  sink = value;
  return 0;
}

BUG(own_at_x) {
  sink = own::Table{nowhere, 0}.at(value);
  return 0;
}

BUG(own_at_y) {
  sink = own::Table{nowhere, 0}.at(value + 1) + 1;
  return 0;
}

BUG(own_put_x) {
  own::Table{nowhere, 0}.put(value % 16, 1);
  return 0;
}

BUG(own_put_y) {
  own::Table{nowhere, 0}.put(value % 16, 2);
  sink = 1;
  return 0;
}

BUG(third_at_a) {
  sink = third::Slice{nowhere, 0}.at(value);
  return 0;
}

BUG(third_at_b) {
  sink = third::Slice{nowhere, 0}.at(value + 1) + 1;
  return 0;
}

BUG(third_put_a) {
  third::Slice{nowhere, 0}.put(value % 16, 1);
  return 0;
}

BUG(third_put_b) {
  third::Slice{nowhere, 0}.put(value % 16, 2);
  sink = 1;
  return 0;
}

// libstdc++ looks, as it is compiled with _GLIBCXX_ASSERTIONS.
BUG(vector_a) {
  std::vector<int> none;
  sink = none[value];
  return 0;
}

BUG(vector_b) {
  std::vector<int> none;
  sink = none[value + 1] + 1;
  return 0;
}

// ---- checks of the library's own, with values in their texts ----------------------------------

#define CHECK_LESS(a, b)                                                                                       \
  if (!((a) < (b))) {                                                                                          \
    fprintf(stderr, "check failed: %ld is not less than %ld (thread %#lx, at %p)\n", static_cast<long>(a),       \
            static_cast<long>(b), pthread_self(), static_cast<const void *>(&a));                              \
    abort();                                                                                                   \
  }

BUG(check_a) {
  CHECK_LESS(value, 0);
  return 0;
}

BUG(check_b) {
  CHECK_LESS(value, -5);
  return 0;
}

// All checks go through one function, and the text says where.
[[noreturn]] KEEP static void failed_at(const char *file, int line, long is, long most) {
  fprintf(stderr, "[FATAL %s:%d] %ld > %ld\n", file, line, is, most);
  abort();
}

#define CHECK_MOST(is, most) \
  if ((is) > (most)) failed_at("signals.cpp", __LINE__, is, most)

BUGS(checks, check_line_a, check_line_b) {
  if (first) {
    CHECK_MOST(value, -1);
  } else {
    CHECK_MOST(value, -2);
  }
  sink = value;
  return 0;
}

// The text says nothing; a function that does not return is no place of a bug, its caller is.
[[noreturn]] KEEP static void give_up(long value) {
  fprintf(stderr, "internal error %ld\n", value);
  abort();
}

BUG(give_up_a) {
  if (value >= 0) give_up(value);
  return 0;
}

BUG(give_up_b) {
  sink = value;
  if (value >= 0) give_up(value + 1);
  return 0;
}

// ---- the C library finds memory damaged (compiled with -fstack-protector-all) -------------------------------------------------------

BUG(freed_a) {
  void *volatile block = malloc(100);
  free(block);
  free(block);
  return 0;
}

BUG(freed_b) {
  void *volatile block = malloc(3000);
  sink = reinterpret_cast<intptr_t>(malloc(10));
  free(block);
  free(block);
  return 0;
}

KEEP static void overwrites(char *buffer, long count) {
  for (long at = 0; at < count; at++) const_cast<volatile char *>(buffer)[at] = 'x';
}

BUG(smash_a) {
  char buffer[16];
  overwrites(buffer, 60 + value % 2);
  sink = buffer[1];
  return 0;
}

BUG(smash_b) {
  char buffer[24];
  overwrites(buffer, 70 + value % 2);
  sink = buffer[2];
  return 0;
}

// ---- signals and who handles them -------------------------------------------------------------

BUG(abort_blocked) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  if (value >= 0) abort();
  return 0;
}

BUG(abort_ignored) {
  signal(SIGABRT, SIG_IGN);
  if (value >= 0) abort();
  return 0;
}

static void notes(int) { sink = sink + 1; }

BUG(abort_handled) {
  signal(SIGABRT, notes);
  if (value >= 0) abort();
  return 0;
}

static void leaves(int) { _exit(9); }

BUG(abort_leaves_a) {
  signal(SIGABRT, leaves);
  if (value >= 0) abort();
  return 0;
}

BUG(abort_leaves_b) {
  signal(SIGABRT, leaves);
  sink = value;
  if (value >= 0) abort();
  return 0;
}

KEEP static void bad_handler_a(int) {
  *nowhere = 1;
  sink = 1;
}

KEEP static void bad_handler_b(int) {
  sink = nowhere[4];
  sink = 2;
}

BUG(in_handler_a) {
  signal(SIGUSR1, bad_handler_a);
  raise(SIGUSR1);
  return 0;
}

BUG(in_handler_b) {
  signal(SIGUSR1, bad_handler_b);
  raise(SIGUSR1);
  return 0;
}

static void again(int number) {
  signal(number, SIG_DFL);
  raise(number);
}

// For a campaign in which the library took the signal when it was imported.
BUG(take_signals) {
  signal(SIGSEGV, again);
  signal(SIGFPE, again);
  signal(SIGABRT, again);
  return 0;
}

BUG(again_a) {
  signal(SIGSEGV, again);
  *nowhere = value;
  return 0;
}

BUG(again_b) {
  signal(SIGSEGV, again);
  sink = nowhere[5];
  return 0;
}

static void leaves_by_seven(int) { _exit(7); }

BUG(leaves_a) {
  signal(SIGSEGV, leaves_by_seven);
  *nowhere = value;
  return 0;
}

BUG(leaves_b) {
  signal(SIGSEGV, leaves_by_seven);
  sink = nowhere[6];
  return 0;
}

static void aborts(int) {
  static const char text[] = "*** the library caught SIGSEGV ***\n";
  if (write(2, text, sizeof text - 1) > 0) abort();
}

BUG(handler_aborts_a) {
  signal(SIGSEGV, aborts);
  *nowhere = value;
  return 0;
}

BUG(handler_aborts_b) {
  signal(SIGSEGV, aborts);
  sink = nowhere[7];
  return 0;
}

KEEP static void works_badly_a(long value) {
  *nowhere = value;
  sink = 1;
}

KEEP static void works_badly_b(long value) {
  sink = value % (sink - sink);
  sink = 2;
}

BUG(in_thread_a) {
  std::thread thread(works_badly_a, value);
  thread.join();
  return 0;
}

BUG(in_thread_b) {
  std::thread thread([value] { works_badly_b(value); });
  thread.join();
  return 0;
}

// ---- words that lie ---------------------------------------------------------------------------

BUG(lies_sanitizer) {
  fprintf(stderr, "==%d==ERROR: HTML Sanitizer: removed <script>\nSUMMARY: AddressSanitizer: nothing\n", getpid());
  *nowhere = value;
  return 0;
}

BUG(lies_bad_alloc) {
  fprintf(stderr, "terminate called after throwing an instance of 'std::bad_alloc'\n");
  *nowhere = value;
  return 0;
}
