// A word that no one-byte step leads to: only the dictionary holds it. Through pybind11, as most targets are.
//
// start: "........"
// dict: "xylophone\x07" "unused"
// expect: found=signal within=40000
// where: reached
#include <pybind11/pybind11.h>

#include <cstdlib>
#include <string_view>

__attribute__((noinline, used)) static void reached() { abort(); }

static void run(const pybind11::bytes &data) {
  if (std::string_view(data).find("xylophone\x07") != std::string_view::npos) reached();
}

PYBIND11_MODULE(dictionary_word, module) { module.def("run", &run); }
