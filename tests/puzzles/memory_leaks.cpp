// Every input leaks 64 KiB: no input is to blame, so a child that grew to the limit is replaced without a finding, and the user
// hears of the leak.
//
// flags: -m 256
// start: "........"
// expect: found=nothing within=20000
// says: leaves malloc,
#include "plain.h"

void run(const uint8_t *data, size_t len) {
  char *block = static_cast<char *>(malloc(64 << 10));
  if (block == nullptr) throw std::bad_alloc();
  memset(block, 1, 64 << 10);
  sink = reinterpret_cast<uintptr_t>(block) + at(data, len, 0);
}

PUZZLE(memory_leaks)
