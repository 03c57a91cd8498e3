// RE2: eight patterns are compiled, matched against eight strings, and used to replace in them.
#include <string>

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

extern "C" void work() {
  for (const char *pattern : PATTERNS) {
    RE2 compiled(pattern);
    for (const char *text : TEXTS) {
      std::string copy = text;
      if (RE2::PartialMatch(copy, compiled)) RE2::GlobalReplace(&copy, compiled, "<\\0>");
    }
  }
}
