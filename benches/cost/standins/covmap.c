/* llvm-covmap, as far as cost goes: on every function's entry, a 64-bit remainder and a bit in shared memory. Its pass
 * passes an id; here it is made from the guard, which costs an addition and a multiplication. */
#include <stdint.h>
#include <sys/mman.h>

static uint8_t *bits;
static uint64_t size = 8u << 20;
static uint32_t functions;

void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop) {
  if (start == stop || *start) return;
  if (!bits) bits = mmap(0, size / 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (uint32_t *guard = start; guard < stop; guard++) *guard = ++functions;
}

void __sanitizer_cov_trace_pc_guard(uint32_t *guard) {
  uint64_t bit = ((*guard + 1) * UINT64_C(0x9E3779B97F4A7C15)) % size;
  bits[bit / 8] |= (uint8_t)(1u << (bit % 8));
}
