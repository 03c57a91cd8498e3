// A reader of tiny icons: "ICO", a version, a number of entries, and for each entry a kind and a size.
//
// Its bug: kind 3 was reserved and never got a reader, and nobody checks.
#include <cstddef>
#include <cstdint>

namespace {

using Reader = long (*)(const uint8_t *data, size_t size);

long read_pixels(const uint8_t *data, size_t size) {
  long sum = 0;
  for (size_t at = 0; at < size; at++) sum += data[at];
  return sum;
}

long read_palette(const uint8_t *data, size_t size) { return size % 3 == 0 ? read_pixels(data, size) : -1; }

long read_text(const uint8_t *data, size_t size) {
  for (size_t at = 0; at < size; at++)
    if (data[at] < 0x20) return -1;
  return static_cast<long>(size);
}

const Reader readers[] = {read_pixels, read_palette, read_text, nullptr};

}  // namespace

// The number of entries, or -1 for what is no icon.
extern "C" long icon_read(const uint8_t *data, size_t size) {
  if (size < 5 || data[0] != 'I' || data[1] != 'C' || data[2] != 'O') return -1;
  if (data[3] < 1 || data[3] > 2) return -1;
  size_t at = 5;
  for (int entry = 0; entry < data[4]; entry++) {
    if (at + 2 > size) return -1;
    uint8_t kind = data[at], length = data[at + 1];
    at += 2;
    if (kind > 3 || at + length > size) return -1;
    if (readers[kind](data + at, length) < 0) return -1;
    at += length;
  }
  return data[4];
}
