// Every input sleeps for most of its time: the user hears that the target waits, and what to do.
//
// start: "ab"
// expect: found=nothing within=700
// says: sleeps, harness.
#include <unistd.h>

#include "plain.h"

void run(const uint8_t *data, size_t len) {
  usleep(4000);
  if (at(data, len, 0) == 'x') sink++;
}

PUZZLE(sleeps)
