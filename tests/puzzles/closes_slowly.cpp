// As closes_descriptors, and each time it takes so long that the batch is ended after the input. The child dies of it
// when that has run, and the input behind it has not: nobody's finding.
//
// start: "ab"
// expect: found=nothing within=1000
#include "plain.h"

#include <unistd.h>

void run(const uint8_t *data, size_t len) {
  unsigned sum = 0;
  for (size_t i = 0; i < len; i++) sum = sum * 31 + data[i];
  if (sum % 61 != 7) return;
  for (int fd = 3; fd < 256; fd++) close(fd);
  usleep(200000);
}

PUZZLE(closes_slowly)
