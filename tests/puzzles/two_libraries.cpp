// Two instrumented libraries in one process: the bug needs the coverage of both, the one's steps between the other's.
//
// links: parts/two_libraries_other.cpp
// start: "........"
// expect: found=signal within=1000000
// where: reached
#include "plain.h"

extern "C" int other_second_step(uint8_t byte);
extern "C" int other_fourth_step(uint8_t byte);

KEEP static void reached() { abort(); }

void run(const uint8_t *data, size_t len) {
  if (len < 5) return;
  if (data[0] != 't') return;
  if (!other_second_step(data[1])) return;
  if (data[2] != 'o') return;
  if (!other_fourth_step(data[3])) return;
  reached();
}

PUZZLE(two_libraries)
