/* The C ABI of libhitmap_rt.so: coverage of this process, live.
 *
 * Edges are numbered densely here: module after module in the order of registration, without gaps,
 * starting at 0. A map is one byte an edge, its hit class (0, 1, 2, 4, 8, 16, 32, 64 or 128: AFL's
 * count buckets). All functions may be called from any thread; calls are serialised by a lock.
 *
 * The view is this process's own. In a map that another process can read (attached, or named in the
 * environment) it is kept beside the counters, which stay as they are for their reader. There, after
 * a reset or push, an edge is seen again when its counter has changed: one that stands where it
 * stood (a guard at 255, 256 more hits of an inline counter, a flag without a counter) is missed.
 *
 * Functions that return int give 0 or one of the negative codes below. */
#ifndef HITMAP_H
#define HITMAP_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define HITMAP_ABI_VERSION 1u

#define HITMAP_OK 0
#define HITMAP_E_EMPTY (-1)    /* pop without push */
#define HITMAP_E_SIZE (-2)     /* a length does not match what the map has */
#define HITMAP_E_ATTACH (-3)   /* the descriptor is not the region that was named */
#define HITMAP_E_MEMORY (-4)   /* the system refused memory */

/* One instrumented library. */
struct hitmap_module {
  uint8_t identity[32];   /* build-id, or a hash of the code; the first identity_len bytes */
  uint32_t identity_len;
  uint32_t kind;          /* 1 counters, 2 flags, 4 guards, 8 has addresses, 16 in place */
  uint64_t first;         /* dense number of its first edge */
  uint32_t edges;         /* how many edges it has */
  uint32_t refused;       /* 1: it did not fit and is not counted */
  uint32_t hits;          /* edges hit since the last reset, push or restore */
  uint32_t reserved;
  char path[1024];        /* the file it was loaded from, NUL-terminated */
};

/* HITMAP_ABI_VERSION of the library. */
uint32_t hitmap_version(void);
/* Joins the region behind a descriptor (the token names it); counts so far move along. To be called
 * while no other thread runs instrumented code, as right after a fork. */
int hitmap_attach(int fd, uint64_t token);
/* Edges known now; grows when an instrumented library is loaded. */
uint64_t hitmap_total(void);
/* Edges hit since the last reset, push or restore. */
uint64_t hitmap_hits(void);
/* Forgets all hits of this process's view; views that were put aside stay. */
void hitmap_reset(void);
/* Puts the view aside and starts an empty one; nests without limit. */
int hitmap_push(void);
/* Merges the view that was put aside last into the current one. */
int hitmap_pop(void);
/* Copies min(len, total) classes; returns total. */
size_t hitmap_copy(uint8_t *classes, size_t len);
/* Replaces the view; len must not exceed total, missing edges are not hit. */
int hitmap_restore(const uint8_t *classes, size_t len);
/* Merges into the view, the larger class of each edge; len as for restore. */
int hitmap_merge(const uint8_t *classes, size_t len);
/* Fills up to max modules; returns how many there are. */
size_t hitmap_modules(struct hitmap_module *out, size_t max);
/* Carries counters that could not be moved onto the region over into it; cheap when there are
 * none. A worker calls it after each input. */
void hitmap_gather(void);

#ifdef __cplusplus
}
#endif
#endif
