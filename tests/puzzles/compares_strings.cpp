// Words that only the library knows: by strcmp, by memcmp, by std::string, and a number of them in text.
//
// start: "key=value;7"
// compares: yes
// expect: found=signal,signal,signal within=60000
// where: by_c by_memory by_string
#include "plain.h"

#include <string>

KEEP static void by_c() { abort(); }
KEEP static void by_memory() { abort(); }
KEEP static void by_string() { abort(); }

KEEP static void choose(const std::string &name, const char *text) {
  if (strcmp(text, "open sesame") == 0) by_c();
  if (name.size() >= 8 && memcmp(name.data(), "\x89PNG\r\n\x1a\n", 8) == 0) by_memory();
  if (name == "authorization") by_string();
}

void run(const uint8_t *data, size_t len) {
  std::string text(reinterpret_cast<const char *>(data), len);
  choose(text.substr(0, text.find('=')), text.c_str());
}

PUZZLE(compares_strings)
