// Three bugs that end in three signals: three findings.
//
// start: "........"
// expect: found=signal,signal,signal within=20000
// where: divides traps reads
#include "plain.h"

KEEP static void divides(int by) { sink = 7 / by; }
KEEP static void traps() { __builtin_trap(); }
KEEP static void reads() { sink = *reinterpret_cast<volatile int *>(uintptr_t{32}); }

void run(const uint8_t *data, size_t len) {
  switch (at(data, len, 0)) {
    case 'd': divides(static_cast<int>(sink & 0)); break;
    case 't': traps(); break;
    case 'r': reads(); break;
  }
}

PUZZLE(many_signals)
