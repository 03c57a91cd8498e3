// The target forks a helper of its own, which ends by _exit while the target waits: no finding, and what the helper
// does counts for nobody else.
//
// start: "........"
// expect: found=nothing within=2000
#include "plain.h"

#include <sys/wait.h>
#include <unistd.h>

void run(const uint8_t *data, size_t len) {
  pid_t child = fork();
  if (child == 0) {
    if (at(data, len, 0) == 'f') sink++;
    _exit(7);
  }
  if (child > 0) waitpid(child, nullptr, 0);
}

PUZZLE(fork_inside)
