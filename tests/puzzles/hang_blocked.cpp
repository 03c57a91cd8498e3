// A call that never returns and burns no CPU: a limit on CPU time would wait for ever.
//
// flags: -t 200
// start: "b."
// expect: found=timeout within=20000
#include "plain.h"

#include <unistd.h>

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'b')
    if (at(data, len, 1) == 'l')
      for (;;) pause();
}

PUZZLE(hang_blocked)
