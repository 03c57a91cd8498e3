// Memory is taken and touched block by block without end.
//
// flags: -m 256 -t 5000
// start: "m."
// expect: found=oom within=20000
#include "plain.h"

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) != 'm' || at(data, len, 1) != 'g') return;
  for (;;) {
    char *block = new char[1 << 20];
    memset(block, 1, 1 << 20);
    sink = reinterpret_cast<uintptr_t>(block);
  }
}

PUZZLE(memory_grows)
