/* Keeps the compiler's bool flags of all libraries, and copies them. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { RANGES = 256 };
static struct { uint8_t *start, *stop; } ranges[RANGES];
static int count;

void __sanitizer_cov_bool_flag_init(uint8_t *start, uint8_t *stop) {
  for (int i = 0; i < count; i++)
    if (ranges[i].start == start) return;
  if (count == RANGES || start == stop) return;
  ranges[count].start = start;
  ranges[count++].stop = stop;
}

/* All flags one after the other, added to `into` unless that is null; gives their number. */
size_t yardstick_copy(uint8_t *into) {
  size_t at = 0;
  for (int i = 0; i < count; i++)
    for (uint8_t *flag = ranges[i].start; flag < ranges[i].stop; flag++, at++)
      if (into) into[at] |= *flag;
  return at;
}

void yardstick_reset(void) {
  for (int i = 0; i < count; i++) memset(ranges[i].start, 0, (size_t)(ranges[i].stop - ranges[i].start));
}
