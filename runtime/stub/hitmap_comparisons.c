/* What a comparison build carries besides the stub: it writes what the library compares into the
 * comparison log, so that an engine can put one side of a compare in place of the other.
 *
 * Owns: the hidden callbacks of `-fsanitize-coverage=trace-cmp`, and stand-ins for the C library's
 * and std::string's compares, which the linker's --wrap puts in their place (comparisons.args lists
 * them; only the library's own calls are redirected; the weak hooks that sanitizers offer stay silent
 * without a sanitizer).
 * `-fno-builtin-memcmp` and its like keep clang from turning those calls into loads. Knows nothing
 * of edges: hitmap_stub.c owns the control block, by which the runtime tells where the log is.
 *
 * Without a runtime, or while nobody asked, a callback is two loads and a branch. It never
 * allocates, locks or calls anything but the function that it stands for.
 *
 * What is kept are compares that came out unequal: an equal one leaves an engine nothing to put in
 * place, and AFL++ and libFuzzer leave such compares out as well. The log is declared once more in
 * runtime/wire/src/comparisons.rs. */
#include <string.h>

#include "hitmap_control.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif

enum { ENTRIES = 16384, OPERAND = 32, SITES = 4096, PER_SITE = 32, CASES = 32, PAGE = 4096 };
enum kind { INTEGER = 1, SWITCH = 2, MEMORY = 3, STRING = 4 };
enum constant { UNKNOWN = 0, LEFT_CONSTANT = 1, RIGHT_CONSTANT = 2 };

struct comparison {
  uint64_t site;
  uint8_t kind, constant, left_len, right_len;
  uint32_t reserved;
  uint8_t left[OPERAND], right[OPERAND];
};

struct hitmap_comparisons {
  uint32_t on, count, reserved[14];
  uint8_t sites[SITES];
  struct comparison entries[ENTRIES];
};

_Static_assert(sizeof(struct comparison) == 80, "as in runtime/wire/src/comparisons.rs");
_Static_assert(offsetof(struct hitmap_comparisons, entries) == 64 + SITES, "as in runtime/wire/src/comparisons.rs");

/* The address after the call: of a callback, or of a function that a stand-in stands for. */
#define SITE ((uintptr_t)__builtin_return_address(0))
#define LIKELY_NOT(x) __builtin_expect(!!(x), 0)

/* The log, while somebody asks for it. */
static inline struct hitmap_comparisons *asked(void) {
  struct hitmap_comparisons *log = __atomic_load_n(&hitmap_control.comparisons, __ATOMIC_RELAXED);
  return log && __atomic_load_n(&log->on, __ATOMIC_RELAXED) ? log : NULL;
}

/* A fresh entry; null when the site has had its share, or the log is full. Sites share counters by
 * the address within a page, which is the same in every process, so that what a run logs does not
 * depend on where the loader put the library. */
static struct comparison *enter(struct hitmap_comparisons *log, uintptr_t site, uintptr_t counter, enum kind kind) {
  uint8_t *share = &log->sites[counter % SITES];
  uint8_t had = __atomic_load_n(share, __ATOMIC_RELAXED);
  if (had >= PER_SITE) return NULL;
  __atomic_store_n(share, had + 1, __ATOMIC_RELAXED);
  uint32_t at = __atomic_fetch_add(&log->count, 1, __ATOMIC_RELAXED);
  if (at >= ENTRIES) {
    __atomic_store_n(&log->count, ENTRIES + 1, __ATOMIC_RELAXED); /* it must not wrap */
    return NULL;
  }
  struct comparison *entry = &log->entries[at];
  entry->site = site, entry->kind = (uint8_t)kind, entry->constant = UNKNOWN, entry->reserved = 0;
  return entry;
}

static void put_integer(uint8_t *operand, uint8_t *len, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; i++) operand[i] = (uint8_t)(value >> (8 * i));
  *len = (uint8_t)bytes;
}

__attribute__((cold, noinline)) static void integers(struct hitmap_comparisons *log, uintptr_t site, unsigned bytes,
                                                     uint64_t left, uint64_t right, enum constant constant) {
  struct comparison *entry = enter(log, site, site, INTEGER);
  if (!entry) return;
  entry->constant = (uint8_t)constant;
  put_integer(entry->left, &entry->left_len, left, bytes);
  put_integer(entry->right, &entry->right_len, right, bytes);
}

/* The compiler gives the constant first. */
#define TRACE(bytes, type)                                                       \
  HIDDEN void __sanitizer_cov_trace_cmp##bytes(type left, type right) {          \
    struct hitmap_comparisons *log = asked();                                    \
    if (LIKELY_NOT(log) && left != right) integers(log, SITE, bytes, left, right, UNKNOWN); \
  }                                                                              \
  HIDDEN void __sanitizer_cov_trace_const_cmp##bytes(type left, type right) {    \
    struct hitmap_comparisons *log = asked();                                    \
    if (LIKELY_NOT(log) && left != right) integers(log, SITE, bytes, left, right, LEFT_CONSTANT); \
  }

TRACE(1, uint8_t)
TRACE(2, uint16_t)
TRACE(4, uint32_t)
TRACE(8, uint64_t)

/* Each case is a site of its own, up to CASES at a time. A switch over bytes is left out, as in
 * libFuzzer: mutation finds those by itself, and parsers are made of them. Cases are sorted. */
__attribute__((cold, noinline)) static void cases(struct hitmap_comparisons *log, uintptr_t site, uint64_t value,
                                                  const uint64_t *table) {
  uint64_t count = table[0], bytes = table[1] / 8;
  const uint64_t *value_of = table + 2;
  if (count == 0 || bytes < 1 || bytes > 8 || (value_of[count - 1] < 256 && value < 256)) return;
  for (uint64_t i = 0, written = 0; i < count && written < CASES; i++) {
    if (value_of[i] == value) continue;
    struct comparison *entry = enter(log, site, site + i * 61, SWITCH);
    if (!entry) continue;
    entry->constant = RIGHT_CONSTANT;
    put_integer(entry->left, &entry->left_len, value, (unsigned)bytes);
    put_integer(entry->right, &entry->right_len, value_of[i], (unsigned)bytes);
    written++;
  }
}

HIDDEN void __sanitizer_cov_trace_switch(uint64_t value, const uint64_t *table) {
  struct hitmap_comparisons *log = asked();
  if (LIKELY_NOT(log)) cases(log, SITE, value, table);
}

/* How many bytes of an operand can be kept: up to `most`, for strings up to the terminator.
 * The first `sure` bytes are those that the compare itself had to read. What follows belongs to the
 * operand when the program keeps C's rules; as not every program does, it is read only as far as
 * the page goes that was read anyway. */
static size_t length(const uint8_t *bytes, size_t sure, size_t most, int string) {
  size_t at = 0;
  for (; at < most; at++) {
    if (at >= sure && (uintptr_t)(bytes + at) % PAGE == 0) break;
    if (string && bytes[at] == 0) break;
  }
  return at;
}

static void put_bytes(uint8_t *operand, uint8_t *len, const uint8_t *bytes, size_t sure, size_t most, int string) {
  size_t kept = length(bytes, sure, most < OPERAND ? most : OPERAND, string);
  for (size_t i = 0; i < kept; i++) operand[i] = bytes[i];
  *len = (uint8_t)kept;
}

/* Two operands of which the program compared up to `left_most` and `right_most` bytes, in step. */
__attribute__((cold, noinline)) static void operands(struct hitmap_comparisons *log, uintptr_t site, enum kind kind,
                                                     const void *left_bytes, size_t left_most,
                                                     const void *right_bytes, size_t right_most) {
  const uint8_t *left = left_bytes, *right = right_bytes;
  size_t most = left_most < right_most ? left_most : right_most, sure = 0;
  int string = kind == STRING;
  if (most > OPERAND) most = OPERAND;
  while (sure < most && left[sure] == right[sure] && !(string && left[sure] == 0)) sure++;
  if (sure < most) sure++;
  struct comparison *entry = enter(log, site, site, kind);
  if (!entry) return;
  put_bytes(entry->left, &entry->left_len, left, sure, left_most, string);
  put_bytes(entry->right, &entry->right_len, right, sure, right_most, string);
}

/* ---- the C library's compares ---- */

#define LOG_UNEQUAL(unequal, kind, left, left_most, right, right_most)                              \
  do {                                                                                              \
    struct hitmap_comparisons *log = asked();                                                       \
    if (LIKELY_NOT(log) && (unequal)) operands(log, SITE, kind, left, left_most, right, right_most); \
  } while (0)

/* The linker's names: __real_f is f, and calls of f go to __wrap_f. */
#define WRAP(type, name, parameters, arguments)  \
  extern type __real_##name parameters;          \
  HIDDEN type __wrap_##name parameters;          \
  HIDDEN type __wrap_##name parameters {         \
    type result = __real_##name arguments;

WRAP(int, memcmp, (const void *left, const void *right, size_t len), (left, right, len))
  LOG_UNEQUAL(result != 0, MEMORY, left, len, right, len);
  return result;
}

WRAP(int, bcmp, (const void *left, const void *right, size_t len), (left, right, len))
  LOG_UNEQUAL(result != 0, MEMORY, left, len, right, len);
  return result;
}

WRAP(int, strcmp, (const char *left, const char *right), (left, right))
  LOG_UNEQUAL(result != 0, STRING, left, OPERAND, right, OPERAND);
  return result;
}

WRAP(int, strncmp, (const char *left, const char *right, size_t len), (left, right, len))
  LOG_UNEQUAL(result != 0, STRING, left, len, right, len);
  return result;
}

WRAP(int, strcasecmp, (const char *left, const char *right), (left, right))
  LOG_UNEQUAL(result != 0, STRING, left, OPERAND, right, OPERAND);
  return result;
}

WRAP(int, strncasecmp, (const char *left, const char *right, size_t len), (left, right, len))
  LOG_UNEQUAL(result != 0, STRING, left, len, right, len);
  return result;
}

WRAP(char *, strstr, (const char *text, const char *wanted), (text, wanted))
  LOG_UNEQUAL(result == NULL, STRING, text, OPERAND, wanted, OPERAND);
  return result;
}

WRAP(char *, strcasestr, (const char *text, const char *wanted), (text, wanted))
  LOG_UNEQUAL(result == NULL, STRING, text, OPERAND, wanted, OPERAND);
  return result;
}

WRAP(void *, memmem, (const void *text, size_t len, const void *wanted, size_t wanted_len), (text, len, wanted, wanted_len))
  LOG_UNEQUAL(result == NULL, MEMORY, text, len, wanted, wanted_len);
  return result;
}

/* ---- libstdc++'s std::string ----
 *
 * These are the compares that clang leaves as calls; the others, of two strings or of views, end in
 * memcmp. They are done here instead of calling the library's own: a reference to those would keep
 * a library written in C from being linked, and a weak one would not bring them in from
 * libstdc++.a. */

struct string {
  const char *bytes;
  size_t len;
};

#define STRING_METHOD(name) __wrap__ZNKSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE##name

extern WEAK void throw_out_of_range(const char *format, ...) __asm__("_ZSt24__throw_out_of_range_fmtPKcz");

static int compare(uintptr_t site, const char *left, size_t left_len, const char *right, size_t right_len) {
  size_t both = left_len < right_len ? left_len : right_len;
  int result = both ? __real_memcmp(left, right, both) : 0;
  if (result == 0) {
    ptrdiff_t longer = (ptrdiff_t)(left_len - right_len);
    result = longer > INT32_MAX ? INT32_MAX : longer < INT32_MIN ? INT32_MIN : (int)longer;
  }
  struct hitmap_comparisons *log = asked();
  if (LIKELY_NOT(log) && result != 0) operands(log, site, MEMORY, left, left_len, right, right_len);
  return result;
}

/* From `at` on, up to `len` bytes; as substr does. */
static struct string part(const struct string *whole, size_t at, size_t len) {
  if (at > whole->len) {
    if (!throw_out_of_range) __builtin_trap();
    throw_out_of_range("%s: __pos (which is %zu) > this->size() (which is %zu)", "basic_string::compare", at, whole->len);
  }
  size_t rest = whole->len - at;
  return (struct string){whole->bytes + at, len < rest ? len : rest};
}

/* compare(const char *) */
HIDDEN int STRING_METHOD(7compareEPKc)(const struct string *left, const char *right);
HIDDEN int STRING_METHOD(7compareEPKc)(const struct string *left, const char *right) {
  return compare(SITE, left->bytes, left->len, right, strlen(right));
}

/* compare(const string &) */
HIDDEN int STRING_METHOD(7compareERKS4_)(const struct string *left, const struct string *right);
HIDDEN int STRING_METHOD(7compareERKS4_)(const struct string *left, const struct string *right) {
  return compare(SITE, left->bytes, left->len, right->bytes, right->len);
}

/* compare(at, len, const char *) */
HIDDEN int STRING_METHOD(7compareEmmPKc)(const struct string *left, size_t at, size_t len, const char *right);
HIDDEN int STRING_METHOD(7compareEmmPKc)(const struct string *left, size_t at, size_t len, const char *right) {
  struct string of = part(left, at, len);
  return compare(SITE, of.bytes, of.len, right, strlen(right));
}

/* compare(at, len, const char *, its length) */
HIDDEN int STRING_METHOD(7compareEmmPKcm)(const struct string *left, size_t at, size_t len, const char *right, size_t right_len);
HIDDEN int STRING_METHOD(7compareEmmPKcm)(const struct string *left, size_t at, size_t len, const char *right, size_t right_len) {
  struct string of = part(left, at, len);
  return compare(SITE, of.bytes, of.len, right, right_len);
}

/* compare(at, len, const string &) */
HIDDEN int STRING_METHOD(7compareEmmRKS4_)(const struct string *left, size_t at, size_t len, const struct string *right);
HIDDEN int STRING_METHOD(7compareEmmRKS4_)(const struct string *left, size_t at, size_t len, const struct string *right) {
  struct string of = part(left, at, len);
  return compare(SITE, of.bytes, of.len, right->bytes, right->len);
}

/* find(const char *, from, its length) */
HIDDEN size_t STRING_METHOD(4findEPKcmm)(const struct string *text, const char *wanted, size_t from, size_t len);
HIDDEN size_t STRING_METHOD(4findEPKcmm)(const struct string *text, const char *wanted, size_t from, size_t len) {
  if (from > text->len) return SIZE_MAX;
  if (len == 0) return from;
  const char *found = __real_memmem(text->bytes + from, text->len - from, wanted, len);
  LOG_UNEQUAL(found == NULL, MEMORY, text->bytes + from, text->len - from, wanted, len);
  return found ? (size_t)(found - text->bytes) : SIZE_MAX;
}

/* rfind(const char *, from, its length); with 0 for `from` it asks how a string starts. */
HIDDEN size_t STRING_METHOD(5rfindEPKcmm)(const struct string *text, const char *wanted, size_t from, size_t len);
HIDDEN size_t STRING_METHOD(5rfindEPKcmm)(const struct string *text, const char *wanted, size_t from, size_t len) {
  size_t at = SIZE_MAX;
  if (len <= text->len) {
    size_t last = text->len - len;
    for (at = from < last ? from : last; at != SIZE_MAX; at--)
      if (len == 0 || __real_memcmp(text->bytes + at, wanted, len) == 0) break;
  }
  LOG_UNEQUAL(at == SIZE_MAX, MEMORY, text->bytes, text->len, wanted, len);
  return at;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
