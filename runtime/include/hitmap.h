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
#define HITMAP_E_MEMORY (-4)   /* the system refused memory, or the runtime failed inside */
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

/* HITMAP_ABI_VERSION of the library that is loaded. A program that was compiled for a larger one
 * cannot use it; for a smaller one it can, as functions and fields are only ever appended. */
uint32_t hitmap_version(void);

/* Makes a map that other processes can attach: a memory file. `edges` is how many edges it holds;
 * each library takes a multiple of 4096. Writes the token that names the map. Returns a descriptor (0
 * or more), which is closed on exec and is the caller's to close; HITMAP_E_SIZE when edges is 0 or
 * token is null; HITMAP_E_MEMORY. Nothing counts there until hitmap_attach. */
int hitmap_create(uint32_t edges, uint64_t *token);
/* Joins the map behind a descriptor, which may be closed afterwards; what was counted so far moves
 * along. To be called while no other thread runs instrumented code, as right after a fork. Children
 * that are forked later count there too. HITMAP_OK, also when the process is there already;
 * HITMAP_E_ATTACH when the descriptor is closed or is not the map of that token, and HITMAP_E_MEMORY:
 * then nothing changes. */
int hitmap_attach(int fd, uint64_t token);
/* Makes an empty map of the size of this process's, for one run in a child that is to be forked; the
 * token, the descriptor and the errors are as for hitmap_create. */
int hitmap_twin(uint64_t *token);
/* In a child that was just forked: map and view begin empty, and what is counted from now on goes into
 * the twin, which the parent can attach and read however the child ends. Costs a few system calls,
 * whatever the number of edges. The twin must be empty. HITMAP_OK; HITMAP_E_ATTACH as for
 * hitmap_attach, HITMAP_E_SIZE when the maps differ in size, HITMAP_E_MEMORY: then nothing changes. */
int hitmap_enter(int fd, uint64_t token);

/* How many edges are known now; grows when an instrumented library is loaded. */
uint64_t hitmap_total(void);
/* How many edges were hit since the last reset, push or restore. */
uint64_t hitmap_hits(void);
/* Forgets all hits of this process's view; views that were put aside stay. */
void hitmap_reset(void);
/* Puts the view aside and starts an empty one; nests without limit. HITMAP_OK or HITMAP_E_MEMORY. */
int hitmap_push(void);
/* Merges the view that was put aside last into the current one. HITMAP_OK; HITMAP_E_EMPTY when there
 * is none, and then nothing changes. */
int hitmap_pop(void);

/* Copies the view: min(len, total) classes, one byte an edge. Returns the total, in edges, whatever
 * len is. `classes` may be null, and then nothing is copied. */
size_t hitmap_copy(uint8_t *classes, size_t len);
/* Replaces the view by `len` classes, one byte an edge; edges from len on are not hit. HITMAP_OK;
 * HITMAP_E_SIZE when len exceeds the total, or classes is null and len is not 0, and then nothing
 * changes. */
int hitmap_restore(const uint8_t *classes, size_t len);
/* Merges `len` classes into the view: the larger one of each edge stays. Errors as for restore. */
int hitmap_merge(const uint8_t *classes, size_t len);
/* Writes the view, with the identities of its libraries, as bytes that another process can merge.
 * Returns how many bytes that takes; writes nothing when it is more than len, or bytes is null. */
size_t hitmap_serialize(uint8_t *bytes, size_t len);
/* Merges the `len` bytes that another process serialized, whatever order it loaded its libraries in.
 * HITMAP_OK; HITMAP_E_SIZE when the bytes are null, damaged, cut or something else; HITMAP_E_BUILD when
 * they speak of a library that is not counted here. On an error nothing changes. */
int hitmap_deserialize(const uint8_t *bytes, size_t len);
/* Fills up to `max` entries of `out`, which may be null, in the order of their edges; returns how many
 * libraries there are. */
size_t hitmap_modules(struct hitmap_module *out, size_t max);

/* Carries counters that could not be moved onto the map over into it; cheap when there are none. A
 * process that others watch calls it after each piece of work, and before it ends. */
void hitmap_gather(void);

#ifdef __cplusplus
}
#endif
#endif
