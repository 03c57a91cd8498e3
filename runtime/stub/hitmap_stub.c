/* What the compiler wrapper adds to every instrumented library.
 *
 * Owns: the library's control block (where its counters, flags, guards and addresses lie), the
 * hidden callbacks that the compiler's instrumentation calls, and the note by which a runtime that
 * comes later finds the control block. Knows nothing of the map: without a runtime the library
 * loads and runs, inline counters count into the library's own memory, and guards count nothing.
 *
 * Compiled with `-O2 -fPIC -c` by the compiler of the library, linked as one object, once, anywhere
 * on the command line, beside `-Wl,-T,isolate.ld`.
 *
 * Needs nothing, not even libc, whose words it uses where it is there. Everything is hidden, so that two libraries never share a
 * callback and no call goes through the PLT. */
#include "hitmap_control.h"

#ifdef __clang__
/* The wrapper's user may pass -fsanitize-coverage for everything: a callback must not call itself. */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif

/* The linker makes these where such sections exist; isolate.ld makes the two ends. */
extern HIDDEN WEAK uint8_t __start___sancov_cntrs[], __stop___sancov_cntrs[], __hitmap_cntrs_end[];
extern HIDDEN WEAK uint8_t __start___sancov_bools[], __stop___sancov_bools[], __hitmap_bools_end[];
extern HIDDEN WEAK uint32_t __start___sancov_guards[], __stop___sancov_guards[];
extern HIDDEN WEAK const uintptr_t __start___sancov_pcs[], __stop___sancov_pcs[];

/* 255, so that a guard without an edge takes the cheap branch and journals nothing. */
static uint8_t hitmap_nowhere = 255;
static uint32_t hitmap_no_journal_len;
static const struct hitmap_plane hitmap_no_plane = {&hitmap_nowhere, &hitmap_no_journal_len, NULL, 0, 0, NULL};

HIDDEN __attribute__((used)) struct hitmap_control hitmap_control = {
    1, sizeof(struct hitmap_control),
    __start___sancov_cntrs, __stop___sancov_cntrs, __hitmap_cntrs_end,
    __start___sancov_bools, __stop___sancov_bools, __hitmap_bools_end,
    __start___sancov_guards, __stop___sancov_guards,
    __start___sancov_pcs, __stop___sancov_pcs,
    &hitmap_nowhere, &hitmap_no_plane, NULL, &hitmap_control, NULL, NULL,
};

/* The note: owner "hitmap", type 1, the distance from the description to the control block. It
 * survives stripping and --gc-sections, and needs no relocation at run time. */
__asm__(".pushsection .note.hitmap,\"a\",@note\n"
        ".p2align 2\n"
        ".long 7, 8, 1\n"
        ".asciz \"hitmap\"\n"
        ".p2align 2\n"
        "1: .quad hitmap_control - 1b\n"
        ".popsection\n");

/* Present when libhitmap_rt.so was loaded first, with its symbols global. */
extern WEAK int hitmap_register_library(struct hitmap_control *control);

/* Whoever runs us may want a record that only a runtime keeps. A program says at its start that it has
 * none; a library at the end, as a runtime may come after it. Weak, so that nothing has to be there. */
struct hitmap_about { const char *path; void *base; const char *symbol; void *address; };
extern WEAK char *getenv(const char *name);
extern WEAK long write(int fd, const void *bytes, unsigned long length);
extern WEAK int getpid(void);
extern WEAK int dladdr(const void *address, struct hitmap_about *about);
extern HIDDEN WEAK const uint8_t __ehdr_start[];
static int hitmap_starter;

static const char *hitmap_wanted(void) {
  static const char covmap[] = "LLVM_COVMAP_SHM_NAME", map[] = "HITMAP_MAP";
  if (!getenv || !write || !getpid) return NULL;
  if (hitmap_control.counters == hitmap_control.counters_stop && hitmap_control.flags == hitmap_control.flags_stop &&
      hitmap_control.guards == hitmap_control.guards_stop)
    return NULL;
  if (getenv(covmap)) return covmap;
  /* A descriptor is closed in grandchildren, which is ordinary; a name holds for all. */
  const char *name = getenv(map);
  return name && name[0] == '/' ? map : NULL;
}

/* By its own header: not one to be placed anywhere, or one that asks for a loader. */
static int hitmap_is_program(void) {
#if __SIZEOF_POINTER__ == 8
  const uint8_t *at = __ehdr_start;
  if (!at) return 0;
  if (*(const uint16_t *)(at + 16) == 2) return 1;
  const uint8_t *segment = at + *(const uint64_t *)(at + 32);
  for (int left = *(const uint16_t *)(at + 56); left > 0; left--, segment += *(const uint16_t *)(at + 54))
    if (*(const uint32_t *)segment == 3) return 1;
#endif
  return 0;
}

static unsigned long hitmap_append(char *line, unsigned long at, unsigned long room, const char *text) {
  while (*text && at < room) line[at++] = *text++;
  return at;
}

static void hitmap_say_alone(const char *wanted) {
  char line[1024]; /* in one write, so that lines of several processes do not mix */
  struct hitmap_about about = {NULL, NULL, NULL, NULL};
  unsigned long at = hitmap_append(line, 0, 1000, "hitmap: ");
  at = hitmap_append(line, at, 500, dladdr && dladdr(&hitmap_control, &about) && about.path ? about.path : "this program");
  at = hitmap_append(line, at, 1000, ": ");
  at = hitmap_append(line, at, 1000, wanted);
  at = hitmap_append(line, at, 1000, " is set, but there is no libhitmap_rt.so in this process, so nothing is recorded; link with "
                                     "hitmap-clang --hitmap-live or the flags of `hitmap flags --live`, or LD_PRELOAD it\n");
  if (write(2, line, at) < 0) return; /* without standard error it is not said */
}

/* Before ordinary C++ constructors, so that guards in these count already. */
__attribute__((constructor(101))) static void hitmap_join(void) {
  if (hitmap_register_library) hitmap_register_library(&hitmap_control);
  const char *wanted = hitmap_wanted();
  if (!wanted) return;
  if (!hitmap_is_program())
    hitmap_starter = getpid();
  else if (!hitmap_control.leave)
    hitmap_say_alone(wanted);
}

__attribute__((destructor(101))) static void hitmap_leave(void) {
  if (hitmap_control.leave) {
    hitmap_control.leave(&hitmap_control);
    return;
  }
  const char *wanted = hitmap_starter && hitmap_starter == getpid() ? hitmap_wanted() : NULL;
  if (wanted) hitmap_say_alone(wanted);
}

/* The first touch of an edge: the byte first, then the journal. The other way round a reader could
 * take the entry, find 0, and never hear of the edge again. */
HIDDEN SAVES_REGISTERS void hitmap_first_touch(uint8_t *counter, uint32_t edge) {
  const struct hitmap_plane *plane = __atomic_load_n(&hitmap_control.plane, __ATOMIC_ACQUIRE);
  __atomic_store_n(counter, 1, __ATOMIC_RELAXED);
  uint32_t at = __atomic_fetch_add(plane->journal_len, 1, __ATOMIC_RELAXED);
  if (at < plane->journal_capacity) __atomic_store_n(&plane->journal[at], edge, __ATOMIC_RELAXED);
  void (*touched)(uint32_t) = __atomic_load_n(&hitmap_control.touched, __ATOMIC_RELAXED);
  if (touched) touched(edge);
}

/* Weak: hitmap_live.c has another, for ThinLTO. It lies in one cache line: across two, RE2 took 3 to
 * 7 per cent longer. */
HIDDEN WEAK __attribute__((aligned(64))) void __sanitizer_cov_trace_pc_guard(uint32_t *guard) {
  uint32_t edge = *guard;
  /* No edge: without a runtime, all would wait for each other's stores to the one byte. */
  if (__builtin_expect(edge == 0, 0)) return;
  uint8_t *counter = __atomic_load_n(&hitmap_control.live, __ATOMIC_RELAXED) + edge;
  uint8_t count = __atomic_load_n(counter, __ATOMIC_RELAXED);
  if (__builtin_expect(count == 0, 0))
    hitmap_first_touch(counter, edge);
  else /* A full counter is stored again: a branch around that, when it is taken, costs more. */
    __atomic_store_n(counter, count + (count != 255), __ATOMIC_RELAXED);
}

/* The control block says it all; these only keep the library free of undefined symbols. */
HIDDEN void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop) { (void)start, (void)stop; }
HIDDEN void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop) { (void)start, (void)stop; }
HIDDEN void __sanitizer_cov_bool_flag_init(uint8_t *start, uint8_t *stop) { (void)start, (void)stop; }
HIDDEN void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop) { (void)start, (void)stop; }

#ifdef __clang__
#pragma clang attribute pop
#endif
