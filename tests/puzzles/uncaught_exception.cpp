// A C++ exception that nobody can catch: std::terminate, so abort, with the throwing function in the report.
//
// start: "........"
// expect: found=signal within=100000
// where: promises
#include "plain.h"

KEEP static void promises(uint8_t byte) noexcept {
  if (byte == 'u') throw std::runtime_error("broken promise");
}

void run(const uint8_t *data, size_t len) { promises(at(data, len, 0)); }

PUZZLE(uncaught_exception)
