// Recursion without end: one bug, whichever leaf the stack ends in and however the calls nest.
#include "library.h"

#define LEAF(k)                                \
  KEEP static long leaf##k(long depth) {       \
    char pad[400 + 150 * k];                   \
    pad[0] = static_cast<char>(depth);         \
    asm volatile("" : : "r"(pad) : "memory");  \
    sink = pad[0];                             \
    return pad[1];                             \
  }
LEAF(0)
LEAF(1)
LEAF(2)
LEAF(3)
LEAF(4)
static long (*const leaves[])(long) = {leaf0, leaf1, leaf2, leaf3, leaf4};

KEEP static long walks(long depth, long value) {
  volatile char room[200];
  room[0] = static_cast<char>(depth);
  long sum = leaves[(depth * 7 + value) % 5](depth) + leaves[(depth + value) % 5](depth);
  return walks(depth + 1, value) + sum + room[0];
}

KEEP static long descends(long depth, long value) {
  volatile char room[300];
  room[value % 300] = static_cast<char>(depth);
  return descends(depth + 1, value) + room[1];
}

BUG(endless_a) {
  sink = walks(0, value);
  return 0;
}

BUG(endless_b) {
  sink = descends(0, value);
  return 0;
}

// Brackets in brackets: the input decides the order of the calls.
KEEP static long any(long depth, long value);

KEEP static long array(long depth, long value) {
  volatile char room[150];
  room[0] = static_cast<char>(depth);
  return any(depth + 1, value) + room[0];
}

KEEP static long map(long depth, long value) {
  volatile char room[250];
  room[0] = static_cast<char>(depth);
  return any(depth + 1, value) + room[0];
}

KEEP static long any(long depth, long value) {
  bool is_array = value % 3 == 0 || (value % 3 == 1 && depth % 4 < 2);
  return (is_array ? array(depth, value) : map(depth, value)) + 1;
}

BUG(endless_shapes) {
  sink = any(0, value);
  return 0;
}
