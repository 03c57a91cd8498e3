// What only a sanitizer sees.
#include <climits>
#include <cstdint>

#include "library.h"

KEEP static void writes_behind(long value) {
  volatile char *block = static_cast<volatile char *>(malloc(10));
  block[10 + value % 4] = 1;
  free(const_cast<char *>(block));
}

KEEP static void reads_behind(long value) {
  volatile char *block = static_cast<volatile char *>(malloc(20));
  sink = block[20 + value % 4];
  free(const_cast<char *>(block));
}

KEEP static void reads_freed(long value) {
  volatile char *block = static_cast<volatile char *>(malloc(30));
  free(const_cast<char *>(block));
  sink = block[value % 8];
}

KEEP static void writes_freed(long value) {
  volatile char *block = static_cast<volatile char *>(malloc(40));
  free(const_cast<char *>(block));
  block[value % 8] = 1;
}

KEEP static void leaves_array(long value) {
  volatile char array[8];
  array[8 + value % 2] = 1;
  sink = array[0];
}

BUGS(overflows_at_two_lines, over_line_a, over_line_b) {
  volatile char *block = static_cast<volatile char *>(malloc(10));
  if (first) block[10 + value % 4] = 1;
  sink = 1;
  block[11 + value % 4] = 2;
  free(const_cast<char *>(block));
  return 0;
}

BUG(over_a) {
  writes_behind(value);
  return 0;
}

BUG(over_b) {
  reads_behind(value);
  return 0;
}

BUG(freed_read) {
  reads_freed(value);
  return 0;
}

BUG(freed_write) {
  writes_freed(value);
  return 0;
}

BUG(over_array) {
  leaves_array(value);
  return 0;
}

// The C library overflows, for the library.
KEEP static void copies_behind(long value) {
  char *volatile to = static_cast<char *>(malloc(10));
  const char *volatile from = "a text of more than ten bytes, of which as many are copied";
  __builtin_memcpy(to, from, 11 + value % 8);
  free(to);
}

BUG(over_copy) {
  copies_behind(value);
  return 0;
}

// ---- undefined behaviour ----------------------------------------------------------------------

KEEP static int adds(int value) { return INT_MAX - 3 + value; }

BUG(add_x) {
  sink = adds(static_cast<int>(10 + value));
  return 0;
}

BUG(add_y) {
  sink = adds(static_cast<int>(20 + value)) + 1;
  return 0;
}

KEEP static int64_t multiplies(int64_t value) { return (INT64_MAX / 2) * (3 + value); }

BUG(multiply) {
  sink = multiplies(value);
  return 0;
}

KEEP static int32_t indexes(long value) {
  static volatile int32_t table[4];
  return table[4 + value];
}

BUG(index_out) {
  sink = indexes(value);
  return 0;
}

KEEP static unsigned shifts(long value) { return 1u << (32 + value); }

BUG(shift_out) {
  sink = shifts(value);
  return 0;
}
