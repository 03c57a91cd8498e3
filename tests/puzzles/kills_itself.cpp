// SIGKILL from the target's own hand: no handler sees it, and it must not pass for a kill of ours.
//
// start: "k."
// expect: found=signal within=20000
#include "plain.h"

#include <csignal>

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'k')
    if (at(data, len, 1) == 'i') raise(SIGKILL);
}

PUZZLE(kills_itself)
