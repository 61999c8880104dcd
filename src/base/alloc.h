#ifndef LC_BASE_ALLOC_H
#define LC_BASE_ALLOC_H

#include <stddef.h>

/*
 * The one door to the heap. Every module allocates through it, so that tests
 * can make the first, second, third... allocation fail. Thread-safe.
 * All return NULL when memory is out; none aborts.
 */
void *lc_malloc(size_t size);
void *lc_calloc(size_t count, size_t size); /* zeroed; NULL on overflow of count x size */
void *lc_realloc(void *ptr, size_t size);   /* on NULL the old block is still valid */
void lc_free(void *ptr);                    /* NULL is fine */
char *lc_strdup(const char *s);
char *lc_memdup0(const void *data, size_t len); /* copies len bytes and adds a NUL */

/*
 * Fault injection, in builds with LC_FAULTS only (elsewhere these do nothing and
 * return 0): the n-th allocation of this thread from now (1 is the next) fails,
 * once. n = 0 switches it off. Returns how many allocations this thread has
 * made since the last call.
 */
size_t lc_alloc_fail_at(size_t n);

/* Non-zero in builds that can inject faults: a test skips itself where it can't. */
int lc_alloc_faults_built(void);

#endif
