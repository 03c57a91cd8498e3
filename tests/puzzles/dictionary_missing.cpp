// The same word without the dictionary: out of reach, so that a pass of dictionary_word means the dictionary.
//
// start: "........"
// expect: found=nothing within=40000
#include "plain.h"

KEEP static void reached() { abort(); }

void run(const uint8_t *data, size_t len) {
  if (len >= 10 && memcmp(data, "xylophone\x07", 10) == 0) reached();
}

PUZZLE(dictionary_missing)
