// What it does depends on how many inputs came before: entries are kept, marked, and the user hears of it.
//
// start: "ab"
// expect: found=nothing within=400000 covers=8
// says: lacked --child-runs
#include "plain.h"

static unsigned calls;

void run(const uint8_t *data, size_t len) {
  if (++calls < 300) return;
  switch (at(data, len, 0) & 7) {
    case 0: sink += 11; break;
    case 1: sink *= 3; break;
    case 2: sink ^= 5; break;
    case 3: sink -= 7; break;
    case 4: sink |= 9; break;
    case 5: sink &= 13; break;
    case 6: sink += len; break;
    default: sink = 17; break;
  }
}

PUZZLE(state_drifts)
