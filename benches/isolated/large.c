// A library of TVM's size, without its two hours of compiling: 1,439,121 guards, and a function that
// runs as many of them as it is told, in clusters, as real code does. What a run costs beside the
// function depends on the number of guards and on where those that run lie, and on nothing else of
// the library. It is linked as memcov's users link theirs, so both sides measure the same file.
#include <stdint.h>

#define EDGES 1439121
#define CLUSTER 50

extern void __sanitizer_cov_trace_pc_guard(uint32_t *guard);
extern void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);

__attribute__((section("__sancov_guards"), used)) static uint32_t guards[EDGES] = {1};

__attribute__((constructor)) static void announce(void) {
  __sanitizer_cov_trace_pc_guard_init(guards, guards + EDGES);
}

void run(int edges, int seed) {
  for (int i = 0; i < edges; i++) {
    uint64_t cluster = (uint64_t)(i / CLUSTER + seed) * 7919 % (EDGES / CLUSTER);
    __sanitizer_cov_trace_pc_guard(&guards[cluster * CLUSTER + i % CLUSTER]);
  }
}
