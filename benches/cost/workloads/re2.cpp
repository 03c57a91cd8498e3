// RE2: eight patterns are compiled, matched against eight texts of 15 to 32 KB, in each of which something else is to be
// found, and used to replace in them.
#include <string>
#include <vector>

#include "irregular.h"
#include "re2/re2.h"

static const char *const PATTERNS[] = {
    R"((\w+)@(\w+)\.com)", R"((\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3}))", R"((?i)(foo|bar|baz)+qux?)",
    R"([a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4})", R"((a+)+$)", R"(\b(?:19|20)\d\d[-/.](0[1-9]|1[012])\b)",
    R"([^\x00-\x7F]+)", R"((?P<key>[^=&\s]+)=(?P<value>[^&\s]*))",
};

// What each of the patterns finds, and what it nearly does.
static std::string sought(int kind, Irregular &any) {
  switch (kind) {
    case 0: return any.words(1) + "@" + any.words(1) + (any.once_in(3) ? ".org" : ".com");
    case 1: return any.integer(3) + "." + any.integer(3) + "." + any.integer(3) + "." + any.integer(3);
    case 2: return any.once_in(2) ? "fooBARbazQUX" : "barBazqu";
    case 3: return "0123abcd-89ef-" + (any.once_in(3) ? "012" : std::to_string(1000 + any.below(9000)));
    case 4: return std::string(any.below(20), 'a');
    case 5: return std::to_string(1890 + any.below(220)) + (any.once_in(2) ? "-0" : "/1") + any.integer(1);
    case 6: return "na\xc3\xafve caf\xc3\xa9";
    default: return any.words(1) + "=" + any.integer(6) + "&" + any.words(1) + "=";
  }
}

static std::vector<std::string> texts() {
  Irregular any;
  std::vector<std::string> made;
  for (int kind = 0; kind < 8; kind++) {
    std::string text;
    for (uint32_t i = 0, lines = 200 + any.below(270); i < lines; i++)
      text += any.words(any.below(16)) + " " + sought(kind, any) + " " + any.words(any.below(8)) + "\n";
    made.push_back(text);
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
