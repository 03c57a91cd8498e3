// A loop that never ends, with Python's lock held: only killing helps, and one hang is one finding.
//
// flags: -t 200
// start: "h."
// expect: found=timeout within=5000
#include "plain.h"

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'h')
    if (at(data, len, 1) == 'g')
      for (;;) sink++;
}

PUZZLE(hang_loop)
