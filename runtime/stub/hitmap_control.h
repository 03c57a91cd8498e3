/* What an instrumented library and the runtime say to each other.
 *
 * Declared once more in runtime/src/control.rs and runtime/src/guards.rs. Libraries carry the block
 * they were built with for years: fields are appended and never moved. */
#ifndef HITMAP_CONTROL_H
#define HITMAP_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#define HIDDEN __attribute__((visibility("hidden")))
#define WEAK __attribute__((weak))

struct hitmap_comparisons;

/* Where a guard counts. One for each region; never freed, never changed once it is published. */
struct hitmap_plane {
  uint8_t *counters;          /* byte 0 is nowhere and stays at 255 */
  uint32_t *journal_len;
  uint32_t *journal;
  uint32_t journal_capacity;
  uint32_t reserved;
  struct hitmap_comparisons *comparisons;
};

struct hitmap_control {
  uint32_t version;
  uint32_t size;
  uint8_t *counters, *counters_stop, *counters_end; /* end: of their own pages; null: shared pages */
  uint8_t *flags, *flags_stop, *flags_end;
  uint32_t *guards, *guards_stop;
  const uintptr_t *pcs, *pcs_stop;                  /* pairs: address, 1 for a function's entry */
  uint8_t *live;                                    /* plane->counters, one load nearer */
  const struct hitmap_plane *plane;
  void (*leave)(struct hitmap_control *);           /* set by the runtime, called on unloading */
  struct hitmap_control *self;                      /* equals &itself once relocated */
  struct hitmap_comparisons *comparisons;           /* the region's comparison log */
  void (*touched)(uint32_t edge);                   /* told of first touches; null: nobody asked */
};

extern HIDDEN struct hitmap_control hitmap_control;

#if defined(__x86_64__) && !defined(__ILP32__)
_Static_assert(offsetof(struct hitmap_control, live) == 88, "hitmap_guard.h reads it there");
#endif

/* Called where code is hot but this call is not: with clang it saves the registers, so that its
 * callers need not. */
#ifdef __clang__
#define SAVES_REGISTERS __attribute__((preserve_most))
#else
#define SAVES_REGISTERS
#endif

/* Writes the first touch of an edge: its counter, and the journal. */
extern HIDDEN SAVES_REGISTERS void hitmap_first_touch(uint8_t *counter, uint32_t edge) __attribute__((cold, noinline));

#endif
