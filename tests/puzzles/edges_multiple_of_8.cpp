// A library whose edge total is a multiple of 8, where memcov writes one byte past its map. The last edges lead to
// the bug. PAD adds an edge each; the build takes the first PAD in 0..7 for which the total divides.
//
// pad: 8
// start: "........"
// expect: found=signal within=300000
// where: reached
#include "plain.h"

// A function without a branch has one edge, and the used attribute keeps it without a caller.
#define EDGE(n) KEEP static void edge_##n() { sink += n; }
#if PAD > 0
EDGE(1)
#endif
#if PAD > 1
EDGE(2)
#endif
#if PAD > 2
EDGE(3)
#endif
#if PAD > 3
EDGE(4)
#endif
#if PAD > 4
EDGE(5)
#endif
#if PAD > 5
EDGE(6)
#endif
#if PAD > 6
EDGE(7)
#endif

PUZZLE(edges_multiple_of_8)

KEEP static void reached() { abort(); }

// Behind the rest of the file, so that its edges are the library's last ones.
void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'o')
    if (at(data, len, 1) == 'c')
      if (at(data, len, 2) == 't') reached();
}
