/* The callback of GCC's `-fsanitize-coverage=trace-pc`, which says nothing but where it was called.
 *
 * Owns: an array of guards, one for every four bytes of code (gcc.ld makes room for it and says
 * where the code begins), and the callback, which takes the guard of its return address. Calls are
 * five bytes long on x86-64, and instructions four on AArch64, so no two places share a guard. Most
 * guards belong to no place: of what such a library has as edges, only a part can be hit. */
#include "hitmap_control.h"

extern HIDDEN const char __hitmap_text[];
extern HIDDEN uint32_t __start___sancov_guards[], __stop___sancov_guards[];

HIDDEN void __sanitizer_cov_trace_pc_guard(uint32_t *guard);

HIDDEN void __sanitizer_cov_trace_pc(void);
HIDDEN void __sanitizer_cov_trace_pc(void) {
  uintptr_t at = ((uintptr_t)__builtin_return_address(0) - (uintptr_t)__hitmap_text) / 4;
  if (at < (uintptr_t)(__stop___sancov_guards - __start___sancov_guards))
    __sanitizer_cov_trace_pc_guard(__start___sancov_guards + at);
}
