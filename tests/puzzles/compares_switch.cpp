// A switch over 64-bit constants, and behind one of them a number in decimal digits.
//
// start: "ABCDEFGH12345"
// compares: yes
// expect: found=signal within=20000
// where: reached
#include "plain.h"

KEEP static void reached() { abort(); }

void run(const uint8_t *data, size_t len) {
  if (len < 9) return;
  uint64_t kind;
  memcpy(&kind, data, 8);
  char text[16] = {0};
  memcpy(text, data + 8, len - 8 < 15 ? len - 8 : 15);
  switch (kind) {
    case 0x1122334455667788: sink += 1; break;
    case 0xA0B0C0D0E0F00102: sink += 2; break;
    case 0x0F1E2D3C4B5A6978:
      if (strtoul(text, nullptr, 10) == 4000000007) reached();
      break;
    case 0xDEADBEEFCAFEF00D: sink += 3; break;
  }
}

PUZZLE(compares_switch)
