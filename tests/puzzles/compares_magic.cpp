// A 32-bit number, the length of what follows it, and a checksum of it: each is a compare that no chance gets past,
// and what is right for the last two is computed from the rest of the input.
//
// start: "0123456789abcdefgh"
// compares: yes
// expect: found=signal within=20000
// where: reached
#include "plain.h"

KEEP static void reached() { abort(); }

static uint32_t number(const uint8_t *data, size_t len, size_t from) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; i++) value = value << 8 | at(data, len, from + i);
  return value;
}

void run(const uint8_t *data, size_t len) {
  if (len < 12) return;
  if (number(data, len, 0) != 0x1BADCAFE) return;
  if (number(data, len, 4) != len - 12) return;
  if (number(data, len, 8) != static_cast<uint32_t>(fnv(data + 12, len - 12))) return;
  reached();
}

PUZZLE(compares_magic)
