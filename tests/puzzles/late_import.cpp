// The module is imported only inside the harness, in the first input of each child: its edges come late, and must
// have the same numbers in every later child, or what was learnt is lost at each crash (every hundredth input).
//
// start: "........"
// expect: found=signal,signal within=150000
// where: shallow deep
#include "plain.h"

KEEP static void shallow() { abort(); }
KEEP static void deep() { *reinterpret_cast<volatile int *>(uintptr_t{16}) = 1; }

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'l')
    if (at(data, len, 1) == 'a')
      if (at(data, len, 2) == 't') deep();
  if (fnv(data, len) % 100 == 0) shallow();
}

PUZZLE(late_import)
