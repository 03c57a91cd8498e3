// A library without a single function, built with coverage like the one that uses it: it brings no edge, and no harm.
//
// links: parts/data_only_table.cpp
// start: "........"
// expect: found=signal within=100000
// where: reached
#include "plain.h"

extern const uint8_t data_only_table[3];

KEEP static void reached() { abort(); }

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == data_only_table[0])
    if (at(data, len, 1) == data_only_table[1])
      if (at(data, len, 2) == data_only_table[2]) reached();
}

PUZZLE(data_only)
