// The target stops itself (SIGSTOP): neither dead nor running. It is a hang, not the end of the campaign.
//
// flags: -t 200
// start: "s."
// expect: found=timeout within=3000
#include "plain.h"

#include <csignal>

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 's')
    if (at(data, len, 1) == 't') raise(SIGSTOP);
}

PUZZLE(stopped)
