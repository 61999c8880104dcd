#include "base/alloc.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef LC_FAULTS

/* Per thread, so that a test that counts its own allocations isn't disturbed by a logger's or worker's. */
static _Thread_local size_t made, fail_at;

static bool must_fail(void) {
  made++;
  return fail_at != 0 && --fail_at == 0;
}

size_t lc_alloc_fail_at(size_t n) {
  size_t count = made;
  made = 0;
  fail_at = n;
  return count;
}

int lc_alloc_faults_built(void) {
  return 1;
}

#else

static inline bool must_fail(void) {
  return false;
}

size_t lc_alloc_fail_at(size_t n) {
  (void)n;
  return 0;
}

int lc_alloc_faults_built(void) {
  return 0;
}

#endif

void *lc_malloc(size_t size) {
  return must_fail() ? NULL : malloc(size);
}

void *lc_calloc(size_t count, size_t size) {
  size_t total;
  /* Sanitizers' calloc ends the process on overflow. */
  if (__builtin_mul_overflow(count, size, &total))
    return NULL;
  return must_fail() ? NULL : calloc(count, size);
}

void *lc_realloc(void *ptr, size_t size) {
  /* realloc to 0 would free the block and return NULL, which callers take for "still valid". */
  return must_fail() ? NULL : realloc(ptr, size ? size : 1);
}

void lc_free(void *ptr) {
  free(ptr);
}

char *lc_strdup(const char *s) {
  return lc_memdup0(s, strlen(s));
}

char *lc_memdup0(const void *data, size_t len) {
  if (len == SIZE_MAX)
    return NULL;
  char *copy = lc_malloc(len + 1);
  if (!copy)
    return NULL;
  if (len)
    memcpy(copy, data, len);
  copy[len] = '\0';
  return copy;
}
