// std::runtime_error out of C++, and a KeyError that the harness's own line raises: two places, two findings.
// ValueError is expected, and stays none.
//
// start: "........"
// expect: found=exception,exception within=20000
// title: RuntimeError KeyError
#include "plain.h"

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'r') throw std::runtime_error("out of C++");
  if (at(data, len, 0) == 'v') throw std::invalid_argument("expected");
}

PUZZLE(exception_unexpected)
