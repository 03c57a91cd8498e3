// Memory errors that do no harm without AddressSanitizer: two of them are two findings, told apart by their stacks,
// and Python's stack stands beside each.
//
// start: "ab"
// asan: yes
// expect: found=sanitizer,sanitizer within=3000
// where: reads_behind_the_heap writes_behind_the_stack
// title: heap-buffer-overflow stack-buffer-overflow
#include "plain.h"

KEEP static void reads_behind_the_heap(const uint8_t *data, size_t len) {
  uint8_t *copy = static_cast<uint8_t *>(malloc(len));
  memcpy(copy, data, len);
  sink += copy[len];
  free(copy);
}

KEEP static void writes_behind_the_stack(size_t len) {
  volatile uint8_t small[16];
  for (size_t i = 0; i <= len; i++) small[i] = 1;
  sink += small[0];
}

void run(const uint8_t *data, size_t len) {
  if (at(data, len, 0) == 'x') reads_behind_the_heap(data, len);
  if (len == 16) writes_behind_the_stack(len);
}

PUZZLE(asan_overflow)
