#ifndef LC_BASE_SLICE_H
#define LC_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A view of bytes that somebody else owns. ptr may be NULL when len is 0. */
struct lc_slice {
  const uint8_t *ptr;
  size_t len;
};

static inline struct lc_slice lc_slice_of(const void *ptr, size_t len) {
  return (struct lc_slice){(const uint8_t *)ptr, len};
}

static inline struct lc_slice lc_slice_str(const char *s) {
  return lc_slice_of(s, strlen(s));
}

static inline bool lc_slice_eq(struct lc_slice a, struct lc_slice b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

#endif
