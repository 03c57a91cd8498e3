// Thirty-two bytes, one after the other: a campaign has something new to find for as long as a test watches it.
// That is what the tests of exchange and of being stopped want; the end is far behind this budget.
//
// start: "................................"
// expect: found=nothing within=20000
#include "plain.h"

KEEP static void reached() { abort(); }

void run(const uint8_t *data, size_t len) {
  static const char way[] = "it is a long way to the last one";
  if (len < 32) return;
#define STEP(n) \
  if (data[n] != static_cast<uint8_t>(way[n])) return;
#define FOUR(n) STEP(n) STEP(n + 1) STEP(n + 2) STEP(n + 3)
  FOUR(0) FOUR(4) FOUR(8) FOUR(12) FOUR(16) FOUR(20) FOUR(24) FOUR(28)
  reached();
}

PUZZLE(long_way)
