// std::invalid_argument is ValueError in Python, and the harness expects it: rejected input, not a finding.
// Through pybind11, whose translation of exceptions is what real targets use.
//
// start: "........"
// expect: found=nothing within=20000
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string_view>

static void run(const pybind11::bytes &data) {
  if (std::string_view(data).find('{') == std::string_view::npos) throw std::invalid_argument("no brace");
}

PYBIND11_MODULE(exception_expected, module) { module.def("run", &run); }
