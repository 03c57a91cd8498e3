// Reads an icon: "IC", a version, width and height, then one byte a pixel. A version 7 icon that is as
// wide as it is high makes it crash: the planted bug.
#include <cstddef>
#include <cstdint>

namespace {

struct Icon {
  unsigned version, width, height;
};

bool header(const uint8_t *data, size_t size, Icon &icon) {
  if (size < 5 || data[0] != 'I') return false;
  if (data[1] != 'C') return false;
  icon = {data[2], data[3], data[4]};
  return icon.version < 9;
}

}  // namespace

extern "C" int read_icon(const uint8_t *data, size_t size) {
  Icon icon;
  if (!header(data, size, icon)) return -1;
  if (icon.version == 7 && icon.width == icon.height) __builtin_trap();
  unsigned sum = 0;
  for (size_t i = 5; i < size && i < 5 + icon.width * icon.height; i++) sum += data[i];
  return static_cast<int>(sum & 0xff);
}
