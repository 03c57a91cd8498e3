// exit() somewhere in the library: Python ends without a word, also with code 0. Two codes, two findings.
//
// start: "........"
// expect: found=exit,exit within=10000
#include "plain.h"

#include <unistd.h>

KEEP static void ends() { exit(3); }
KEEP static void ends_quietly() { _exit(0); }

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'e') ends();
  if (at(data, len, 0) == 'q') ends_quietly();
}

PUZZLE(exit_in_c)
