// One allocation far over the limit; nothing of it is ever touched.
//
// flags: -m 256
// start: "m."
// expect: found=oom within=60000
#include "plain.h"

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) != 'm' || at(data, len, 1) != 'a') return;
  char *block = new char[size_t{6} << 30];
  sink = reinterpret_cast<uintptr_t>(block);
  delete[] block;
}

PUZZLE(memory_giant)
