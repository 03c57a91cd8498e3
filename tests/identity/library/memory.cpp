// More memory than there is.
#include <cstring>
#include <new>
#include <vector>

#include "library.h"

KEEP static void piles_up(long value) {
  for (;;) {
    char *block = new char[1 << 20];
    memset(block, static_cast<int>(value), 1 << 20);
    sink = reinterpret_cast<long>(block);
  }
}

KEEP static void appends(long value) {
  std::vector<std::vector<char>> all;
  for (;;) {
    all.emplace_back(1 << 20, static_cast<char>(value));
    sink = static_cast<long>(all.size());
  }
}

BUG(grow_a) {
  piles_up(value);
  return 0;
}

BUG(grow_b) {
  appends(value);
  return 0;
}

KEEP static void wants_much(long value) {
  char *block = new char[(size_t{6} << 30) + value];
  sink = reinterpret_cast<long>(block);
  delete[] block;
}

KEEP static void resizes(long value) {
  std::vector<char> all;
  all.resize((size_t{6} << 30) + value);
  sink = all[1];
}

BUG(giant_a) {
  wants_much(value);
  return 0;
}

BUG(giant_b) {
  resizes(value);
  return 0;
}

// C code that does not look at what malloc gives.
KEEP static void unchecked_a(long value) {
  char *volatile block = static_cast<char *>(malloc((size_t{6} << 30) + value));
  block[0] = 1;
  free(block);
}

KEEP static void unchecked_b(long value) {
  char *volatile block = static_cast<char *>(calloc(size_t{6} << 20, 1024 + value));
  block[1] = 1;
  free(block);
}

BUG(malloc_a) {
  unchecked_a(value);
  return 0;
}

BUG(malloc_b) {
  unchecked_b(value);
  return 0;
}
