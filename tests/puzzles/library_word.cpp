// A word that stands in the library's own constants: no dictionary is needed.
//
// start: "........"
// expect: found=signal within=40000
// where: reached
#include "plain.h"

#include <string>

KEEP static void reached() { abort(); }

void run(const uint8_t *data, size_t len) {
  std::string text(reinterpret_cast<const char *>(data), len);
  if (strstr(text.c_str(), "xylophonist") != nullptr) reached();
}

PUZZLE(library_word)
