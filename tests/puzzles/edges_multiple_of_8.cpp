// A library whose edge total is a multiple of 8, where memcov writes one byte past its map. The last edges lead to
// the bug. PAD adds an edge each; the build takes the first PAD in 0..7 for which the total divides.
//
// pad: 8
// start: "........"
// expect: found=signal within=100000
// where: reached
#include "plain.h"

KEEP static int pad(uint8_t byte) {
  switch (byte) {
#if PAD > 0
    case 101: return 3;
#endif
#if PAD > 1
    case 103: return 14;
#endif
#if PAD > 2
    case 107: return 15;
#endif
#if PAD > 3
    case 109: return 92;
#endif
#if PAD > 4
    case 113: return 65;
#endif
#if PAD > 5
    case 127: return 35;
#endif
#if PAD > 6
    case 131: return 89;
#endif
  }
  return 0;
}

PUZZLE(edges_multiple_of_8)

KEEP static void reached() { abort(); }

// Behind the rest of the file, so that its edges are the library's last ones.
void run(const uint8_t *data, size_t len) {
  sink = pad(at(data, len, 3));
  if (at(data, len, 0) == 'o')
    if (at(data, len, 1) == 'c')
      if (at(data, len, 2) == 't') reached();
}
