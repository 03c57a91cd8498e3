// The other module of late_orders.cpp.
#include "../plain.h"

KEEP static void deep_other() { *reinterpret_cast<volatile int *>(uintptr_t{24}) = 1; }

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 1) == 'p')
    if (at(data, len, 2) == 'q')
      if (at(data, len, 3) == 'r') deep_other();
}

PUZZLE(late_orders_other)
