// What the parts of the library share: how a bug is declared, and how the outside reaches it.
//
// An input is a line of words, `NAME CALLER LINE DEPTH VALUE`: which bug, by which of two callers, from which line of
// the harness (the harness reads that), below how many frames more, and a number that shows up in texts. So one bug is
// reached in many ways, and an input says which bug it is of.
#pragma once

#include <cstddef>
#include <cstdlib>

// A compiler that sees through a bug may remove it; these keep the library what it says it is.
#define KEEP __attribute__((noinline, used))
inline volatile long sink;
inline long *volatile nowhere = nullptr;

struct Entry {
  const char *name;
  int (*run)(long value, bool first);
  bool first;
  Entry *next;
  Entry(const char *name, int (*run)(long value, bool first), bool first)
      : name(name), run(run), first(first), next(all) {
    all = this;
  }
  static Entry *all;
};

// `BUG(name) { ... }`: a static function, as most of a library's are. It returns 0, or -1 with Python's error set.
#define BUG(name)                                      \
  KEEP static int name(long value, bool first = true); \
  static Entry entry_of_##name(#name, name, true);     \
  KEEP static int name([[maybe_unused]] long value, bool)

// `BUGS(function, one, other) { ... }`: two bugs in one function, which nothing else tells apart than where in it they are.
#define BUGS(function, one, other)                     \
  KEEP static int function(long value, bool first);    \
  static Entry entry_of_##one(#one, function, true);   \
  static Entry entry_of_##other(#other, function, false); \
  KEEP static int function([[maybe_unused]] long value, bool first)

extern "C" {
__attribute__((visibility("default"))) int library_run(const char *text, size_t len);
__attribute__((visibility("default"))) int library_run_in_thread(const char *text, size_t len);
}
