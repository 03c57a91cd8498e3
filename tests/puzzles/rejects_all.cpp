// Turns every input away: the user hears of it, and what to do.
//
// start: "ab"
// expect: found=nothing within=30000
// says: rejects seeds
#include "plain.h"

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'x') sink++;
}

PUZZLE(rejects_all)
