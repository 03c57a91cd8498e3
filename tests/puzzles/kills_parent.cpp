// The target kills the process that forked it, and dies with it: that costs a server, which is started anew, not the
// campaign, and the input that did it is a finding like another.
//
// start: "k."
// expect: found=signal within=20000
#include "plain.h"

#include <csignal>
#include <unistd.h>

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'k')
    if (at(data, len, 1) == 'p') {
      kill(getppid(), SIGKILL);
      for (;;) pause();
    }
}

PUZZLE(kills_parent)
