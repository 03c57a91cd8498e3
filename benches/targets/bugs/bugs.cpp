// Bugs that are planted behind compares: one function each, which aborts when it is reached.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace py = pybind11;
using Bytes = std::string_view;

static uint64_t number(Bytes data, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; i++) value = value << 8 | static_cast<uint8_t>(data[at + i]);
  return value;
}

static uint32_t fnv(Bytes data) {
  uint32_t hash = 0x811c9dc5;
  for (unsigned char byte : data) hash = (hash ^ byte) * 0x01000193;
  return hash;
}

// Six byte compares, one inside the other.
static void nested(Bytes data) {
  if (data.size() < 6) return;
  if (data[0] == 'F')
    if (data[1] == 'U')
      if (data[2] == 'Z')
        if (data[3] == 'Z')
          if (data[4] == '!')
            if (data[5] == '?') abort();
}

// A number of 32 bits, in the processor's own byte order.
static void magic(Bytes data) {
  if (data.size() < 4) return;
  uint32_t value;
  memcpy(&value, data.data(), 4);
  if (value == 0xfeedbeef) abort();
}

// Four letters, and a checksum of what follows.
static void sealed(Bytes data) {
  if (data.size() < 12 || memcmp(data.data(), "SEAL", 4) != 0) return;
  if (number(data, 4, 4) == fnv(data.substr(8))) abort();
}

// A word by strcmp.
static void text(Bytes data) {
  if (strcmp(std::string(data).c_str(), "open sesame") == 0) abort();
}

// A word by operator== of std::string.
static void word(Bytes data) {
  std::string before(data.substr(0, data.find('=')));
  if (before == std::string("authorization")) abort();
}

// A switch over constants of 64 bits.
static void choice(Bytes data) {
  if (data.size() < 8) return;
  switch (number(data, 0, 8)) {
    case 0x1122334455667788: throw py::value_error("one");
    case 0xa0b0c0d0e0f00102: throw py::value_error("two");
    case 0xdeadbeefcafef00d: throw py::value_error("three");
    case 0x0f1e2d3c4b5a6978: abort();
  }
}

// A length that must be that of the rest.
static void length(Bytes data) {
  if (data.size() >= 4 && number(data, 0, 4) == data.size() - 4) abort();
}

template <void (*Bug)(Bytes)>
static void call(const py::bytes &data) {
  Bug(static_cast<std::string_view>(data));
}

PYBIND11_MODULE(bugs, module) {
  module.def("nested", call<nested>);
  module.def("magic", call<magic>);
  module.def("sealed", call<sealed>);
  module.def("text", call<text>);
  module.def("word", call<word>);
  module.def("choice", call<choice>);
  module.def("length", call<length>);
}
