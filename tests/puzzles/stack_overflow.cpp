// Recursion without end: the handler that notes the crash must not need the stack that is gone.
//
// start: "........"
// expect: found=signal within=10000
// where: descend
#include "plain.h"

KEEP static int descend(int depth) {
  volatile char frame[512];
  if (depth < 0) return 0;  // never, but the compiler does not know
  frame[0] = static_cast<char>(depth);
  return descend(depth + 1) + frame[0];
}

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 's') sink = descend(0);
}

PUZZLE(stack_overflow)
