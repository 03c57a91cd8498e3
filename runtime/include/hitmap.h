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
#define HITMAP_E_BUILD (-5)    /* coverage of a library, or of a build of one, that is not counted here */

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
/* Makes a map for up to `edges` edges that other processes can attach: a memory file, its descriptor
 * closed on exec. Writes the token that names it; returns the descriptor, HITMAP_E_SIZE when edges is
 * 0 or token null, or HITMAP_E_MEMORY. Nothing counts there until hitmap_attach. Each library takes a
 * multiple of 4096 edges. */
int hitmap_create(uint32_t edges, uint64_t *token);
/* Joins the region behind a descriptor (the token names it); counts so far move along. To be called
 * while no other thread runs instrumented code, as right after a fork. HITMAP_E_ATTACH when the
 * descriptor is closed, or is not that region. Children that are forked later count there too. */
int hitmap_attach(int fd, uint64_t token);
/* Edges known now; grows when an instrumented library is loaded. */
uint64_t hitmap_total(void);
/* Edges hit since the last reset, push or restore. */
uint64_t hitmap_hits(void);
/* Forgets all hits of this process's view; views that were put aside stay. */
void hitmap_reset(void);
/* Puts the view aside and starts an empty one; nests without limit. HITMAP_OK or HITMAP_E_MEMORY. */
int hitmap_push(void);
/* Merges the view that was put aside last into the current one. HITMAP_OK; HITMAP_E_EMPTY when there
 * is none, and then nothing changes. */
int hitmap_pop(void);
/* Copies min(len, total) classes, one byte an edge; returns total. `classes` may be null. */
size_t hitmap_copy(uint8_t *classes, size_t len);
/* Replaces the view by `len` classes; missing edges are not hit. HITMAP_E_SIZE, and nothing changes,
 * when len exceeds total. */
int hitmap_restore(const uint8_t *classes, size_t len);
/* Merges into the view, the larger class of each edge; len as for restore. */
int hitmap_merge(const uint8_t *classes, size_t len);
/* Writes the view as bytes that another process of the same libraries can merge. Returns how many
 * bytes that takes; writes nothing when it is more than len, or bytes is null. */
size_t hitmap_serialize(uint8_t *bytes, size_t len);
/* Merges what another process serialized, whatever order it loaded its libraries in. All of it or
 * nothing: HITMAP_E_SIZE when the bytes are damaged, cut or something else, HITMAP_E_BUILD when they
 * speak of a library that is not counted here. */
int hitmap_deserialize(const uint8_t *bytes, size_t len);
/* Fills up to max modules, in the order of their edges; returns how many there are. `out` may be
 * null. */
size_t hitmap_modules(struct hitmap_module *out, size_t max);
/* Carries counters that could not be moved onto the region over into it; cheap when there are
 * none. A worker calls it after each input. */
void hitmap_gather(void);

#ifdef __cplusplus
}
#endif
#endif
