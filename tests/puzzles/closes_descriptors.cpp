// Now and then the target closes every descriptor above standard error, the worker's own among them. That costs a
// child, not the campaign, and is nobody's finding.
//
// start: "c."
// expect: found=nothing within=20000
#include "plain.h"

#include <unistd.h>

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'c')
    if (at(data, len, 1) == 'l')
      for (int fd = 3; fd < 256; fd++) close(fd);
}

PUZZLE(closes_descriptors)
