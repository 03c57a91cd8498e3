// The target forks and both sides return: the copy must not go on with the batch as if it were the child.
//
// start: "f......."
// expect: found=nothing within=2000
#include "plain.h"

#include <unistd.h>

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'f')
    if (fork() == 0) sink++;
}

PUZZLE(fork_returns)
