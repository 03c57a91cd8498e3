// sys.exit() in the harness: SystemExit is an end of the process, not an exception like others.
//
// start: "........"
// expect: found=exit within=10000
#include "plain.h"

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'e') sink++;
}

PUZZLE(exit_in_python)
