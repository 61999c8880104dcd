#ifndef LC_BASE_WARM_H
#define LC_BASE_WARM_H

#include <stddef.h>

/*
 * Blocks for large values. The C library gets each from the kernel and gives it back at once, which bounds what a
 * process holds, but every page of such a block costs a page fault: more than all else that a large value costs. So a
 * few that were freed last are kept for the whole process, LC_WARM_KEEP bytes at most, and are handed out again cut to
 * size. Thread-safe.
 */
#define LC_WARM_MIN ((size_t)256 << 10) /* smaller ones are the heap's, as lc_malloc's are */
#define LC_WARM_KEEP ((size_t)8 << 20)

void *lc_warm_alloc(size_t size);           /* as lc_malloc, and one allocation for lc_alloc_fail_at */
void lc_warm_free(void *data, size_t size); /* size: what it was allocated with. NULL is fine */
void lc_warm_drop(void);                    /* frees what is kept */

#endif
