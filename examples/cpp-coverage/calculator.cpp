#include "calculator.hpp"

#include <stdexcept>

namespace {

struct Reader {
  const char *at;

  long sum() {
    long value = product();
    while (*at == '+' || *at == '-') value = *at++ == '+' ? value + product() : value - product();
    return value;
  }

  long product() {
    long value = number();
    while (*at == '*') ++at, value *= number();
    return value;
  }

  long number() {
    if (*at == '(') {
      ++at;
      long value = sum();
      if (*at != ')') throw std::runtime_error("a parenthesis is not closed");
      ++at;
      return value;
    }
    if (*at < '0' || *at > '9') throw std::runtime_error("a number is missing");
    long value = 0;
    while (*at >= '0' && *at <= '9') value = 10 * value + (*at++ - '0');
    return value;
  }
};

}  // namespace

long calculate(const std::string &text) {
  Reader reader{text.c_str()};
  long value = reader.sum();
  if (*reader.at) throw std::runtime_error("something follows the end");
  return value;
}
