// One bug, reached at many depths of a recursion: one finding.
//
// start: "........"
// expect: found=signal within=5000
// where: reached
#include "plain.h"

KEEP static void reached() { abort(); }

KEEP static int descend(unsigned depth) {
  if (depth == 0) {
    reached();
    return 0;
  }
  return descend(depth - 1) + static_cast<int>(sink);  // the sum keeps this a call, not a jump
}

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == '!') descend(24 + at(data, len, 1) % 64);
}

PUZZLE(one_bug_many_depths)
