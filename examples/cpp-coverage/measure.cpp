// Measures what each expression covers inside of the calculator, and what it covers first.
//
//   measure EXPRESSION...
//
// One line for each expression: edges it covered, edges no earlier one had covered, the expression, and its value.
#include <hitmap.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "calculator.hpp"

static std::string value_of(const std::string &expression) {
  try {
    return std::to_string(calculate(expression));
  } catch (const std::exception &error) {
    return error.what();
  }
}

int main(int argc, char **argv) {
  hitmap_reset();
  for (int i = 1; i < argc; i++) {
    uint64_t before = hitmap_hits();
    hitmap_push();  // from here on, an empty map
    std::string value = value_of(argv[i]);
    uint64_t own = hitmap_hits();
    hitmap_pop();  // the map as it was, and what was hit meanwhile
    std::printf("%3llu edges, %3llu new: %s = %s\n", (unsigned long long)own,
                (unsigned long long)(hitmap_hits() - before), argv[i], value.c_str());
  }

  std::vector<uint8_t> classes(hitmap_total());
  hitmap_copy(classes.data(), classes.size());
  std::vector<hitmap_module> modules(hitmap_modules(nullptr, 0));
  modules.resize(hitmap_modules(modules.data(), modules.size()));
  for (const hitmap_module &module : modules) {
    std::printf("%u of %u edges in %s; not covered:", module.hits, module.edges, module.path);
    for (uint32_t edge = 0; edge < module.edges; edge++)
      if (!classes[module.first + edge]) std::printf(" %u", edge);
    std::printf("\n");
  }
}
