// Debian leaves RE2's generated Unicode tables out of its source. These know ASCII, which is all that the patterns need.
#include "re2/unicode_casefold.h"
#include "re2/unicode_groups.h"

namespace re2 {
const CaseFold unicode_casefold[] = {{'A', 'Z', 32}, {'a', 'z', -32}};
const int num_unicode_casefold = 2;
const CaseFold unicode_tolower[] = {{'A', 'Z', 32}};
const int num_unicode_tolower = 1;

// The groups that the name of a capture is made of.
static const URange16 WORD[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const UGroup unicode_groups[] = {
    {"Lu", +1, WORD, 4, nullptr, 0}, {"Ll", +1, WORD, 4, nullptr, 0}, {"Lt", +1, WORD, 4, nullptr, 0},
    {"Lm", +1, WORD, 4, nullptr, 0}, {"Lo", +1, WORD, 4, nullptr, 0}, {"Nl", +1, WORD, 4, nullptr, 0},
    {"Mn", +1, WORD, 4, nullptr, 0}, {"Mc", +1, WORD, 4, nullptr, 0}, {"Nd", +1, WORD, 4, nullptr, 0},
    {"Pc", +1, WORD, 4, nullptr, 0},
};
const int num_unicode_groups = 10;
}  // namespace re2
