// Floods standard output and error, from C++ and from Python: none of it reaches the user's terminal or fills a disk,
// and the bug behind it is found.
//
// start: "........"
// expect: found=signal within=20000
// where: reached
// silent: NOISE-NOISE-NOISE
#include "plain.h"

#include <unistd.h>

KEEP static void reached() { abort(); }

static void flood(int fd) {
  static const char line[] = "NOISE-NOISE-NOISE-NOISE-NOISE-NOISE-NOISE-NOISE\n";
  for (int i = 0; i < 20; i++)
    if (write(fd, line, sizeof line - 1) < 0) return;
}

void run(const uint8_t *data, size_t len) {
  flood(1);
  flood(2);
  if (at(data, len, 0) == 'n') reached();
}

PUZZLE(noisy)
