// RE2: eight patterns are compiled, matched against eight texts of 13 KB, and used to replace in them.
#include <string>
#include <vector>

#include "re2/re2.h"

static const char *const PATTERNS[] = {
    R"((\w+)@(\w+)\.com)", R"(^\s*(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\s*$)", R"((?i)(foo|bar|baz)+qux?)",
    R"([a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4})", R"((a+)+$)", R"(\b(?:19|20)\d\d[-/.](0[1-9]|1[012])\b)",
    R"([^\x00-\x7F]+)", R"((?P<key>[^=&]+)=(?P<value>[^&]*))",
};
static const char *const TEXTS[] = {
    "write to someone@example.com, or to another@example.com", " 192.168.10.254 ", "fooBARbazQUX and fooqu",
    "id 0123abcd-89ef-0123 and the rest", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "between 1999-12 and 2024/01",
    "na\xc3\xafve caf\xc3\xa9", "first=1&second=two&third=3.0&empty=",
};

// Prose in which the interesting part comes late, as in a log or a letter.
static std::vector<std::string> texts() {
  std::vector<std::string> made;
  for (const char *text : TEXTS) {
    std::string whole;
    for (int line = 0; line < 200; line++)
      whole += "Nothing of interest stands in line " + std::to_string(line) + ", nor below it.\n";
    made.push_back(whole + text);
  }
  return made;
}

extern "C" void work() {
  static const std::vector<std::string> all = texts();
  for (const char *pattern : PATTERNS) {
    RE2 compiled(pattern);
    for (const std::string &text : all) {
      std::string copy = text;
      if (RE2::PartialMatch(copy, compiled)) RE2::GlobalReplace(&copy, compiled, "<\\0>");
    }
  }
}
