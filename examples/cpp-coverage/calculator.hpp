// Evaluates sums and products of whole numbers, such as 2*(3+4).
#pragma once
#include <string>

// Throws std::runtime_error on anything else.
long calculate(const std::string &text);
