/* memcov's master branch, as far as cost goes: a bit an edge and a number of edges hit, looked at on every edge. */
#include <stdint.h>
#include <stdlib.h>

static uint8_t *bits;
static uint32_t edges, hit;

void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop) {
  if (start == stop || *start) return;
  for (uint32_t *guard = start; guard < stop; guard++) *guard = ++edges;
  bits = calloc(edges / 8 + 1, 1);
}

void __sanitizer_cov_trace_pc_guard(uint32_t *guard) {
  if (!*guard) return;
  uint32_t edge = *guard;
  uint8_t bit = (uint8_t)(1u << (edge % 8));
  if (!(bits[edge / 8] & bit)) {
    bits[edge / 8] |= bit;
    hit++;
  }
}

uint32_t standin_hit(void) { return hit; }
