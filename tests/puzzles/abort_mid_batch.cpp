// Every hundredth input crashes the same way, in the middle of a batch. The campaign goes on to the end of its
// budget, keeps that bug once, and finds the deeper one that hides behind it.
//
// start: "........"
// expect: found=signal,signal within=200000
// where: shallow deep
#include "plain.h"

KEEP static void shallow() { abort(); }
KEEP static void deep() { *reinterpret_cast<volatile int *>(uintptr_t{16}) = 1; }

void run(const uint8_t *data, size_t len) {
  if (fnv(data, len) % 100 == 0) shallow();
  if (at(data, len, 0) == 'd')
    if (at(data, len, 1) == 'e')
      if (at(data, len, 2) == 'e')
        if (at(data, len, 3) == 'p') deep();
}

PUZZLE(abort_mid_batch)
