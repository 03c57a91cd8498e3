// Sixteen branches and no bug: a campaign that ends with 0 and with every branch covered.
//
// start: "........"
// expect: found=nothing within=50000 covers=16
#include "plain.h"

void run(const uint8_t *data, size_t len) {
  switch (at(data, len, 0)) {
#define BRANCH(byte) \
  case byte: sink = sink * 31 + byte; break;
    BRANCH('0') BRANCH('1') BRANCH('2') BRANCH('3') BRANCH('4') BRANCH('5') BRANCH('6') BRANCH('7')
    BRANCH('8') BRANCH('9') BRANCH('a') BRANCH('b') BRANCH('c') BRANCH('d') BRANCH('e') BRANCH('f')
  }
}

PUZZLE(coverage_only)
