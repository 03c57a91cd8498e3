// Two libraries that are imported inside the harness in an order that the input decides: whatever the order, each
// has one range of edges. The campaign's total is the sum of both, once.
//
// with: parts/late_orders_other.cpp
// start: "a......." "b......."
// expect: found=signal,signal,signal within=100000
// where: shallow deep deep_other
#include "plain.h"

KEEP static void shallow() { abort(); }
KEEP static void deep() { *reinterpret_cast<volatile int *>(uintptr_t{16}) = 1; }

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 1) == 'x')
    if (at(data, len, 2) == 'y')
      if (at(data, len, 3) == 'z') deep();
  if (fnv(data, len) % 100 == 0) shallow();
}

PUZZLE(late_orders)
