// Its harness keeps Python objects of every input: the user hears of the leak, and that it is Python's memory.
//
// start: "ab"
// expect: found=nothing within=6000
// says: leaves Python's allocator,
#include "plain.h"

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'x') sink++;
}

PUZZLE(objects_kept)
