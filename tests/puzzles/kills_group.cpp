// SIGTERM to the target's whole process group, as a library does that cleans up its helpers: it ends the child, and
// must reach neither server nor engine.
//
// start: "k."
// expect: found=signal within=20000
#include "plain.h"

#include <csignal>

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'k')
    if (at(data, len, 1) == 'g') kill(0, SIGTERM);
}

PUZZLE(kills_group)
