// Numbers and words without a pattern, the same in every run. What repeats is learnt by the branch predictor within a few
// calls, and then a plain build looks faster, and coverage dearer, than either is on input that was not seen before.
#pragma once
#include <cstdint>
#include <string>

class Irregular {
 public:
  // From 0 on, below `bound`: Knuth's generator, its upper half.
  uint32_t below(uint32_t bound) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(((state_ >> 32) * bound) >> 32);
  }
  bool once_in(uint32_t times) { return below(times) == 0; }
  // An integer of one to `digits` digits, as long ones are as frequent as short ones.
  std::string integer(uint32_t digits) {
    uint32_t bound = 10;
    for (uint32_t more = below(digits); more > 0; more--) bound *= 10;
    return std::to_string(below(bound));
  }
  std::string words(uint32_t count) {
    static const char *const WORDS[] = {"the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while",
                                        "nobody", "watches", "and", "rain", "falls", "tomorrow"};
    std::string text;
    for (uint32_t i = 0; i < count; i++) text += (i ? " " : "") + std::string(WORDS[below(16)]);
    return text;
  }

 private:
  uint64_t state_ = 1;
};
