#ifndef LC_BASE_POOL_H
#define LC_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

/*
 * Free lists by size class (16 bytes to 4 KiB, larger goes to the heap) for one
 * thread: what nghttp2 and streams allocate and free for every request. At
 * most `keep_bytes` (under 4 GiB) stay on the lists. Not thread-safe.
 */
struct lc_mempool;

/* NULL when memory is out. */
struct lc_mempool *lc_mempool_create(size_t keep_bytes);

/* Every block must have been freed before. NULL is fine. */
void lc_mempool_destroy(struct lc_mempool *pool);

/* As malloc and its family; blocks are aligned to 16 bytes, size 0 gives a valid pointer, free(NULL) is fine. */
static inline void *lc_mempool_alloc(struct lc_mempool *pool, size_t size);
void *lc_mempool_calloc(struct lc_mempool *pool, size_t count, size_t size);
void *lc_mempool_realloc(struct lc_mempool *pool, void *ptr, size_t size);
static inline void lc_mempool_free(struct lc_mempool *pool, void *ptr);

/*
 * What follows is here only so that the two calls above are inlined into their
 * users' callbacks: a dozen instructions each when a list has a block.
 *
 *   | bytes | class | next or size |  the caller's bytes ...  |
 *   '------- 16 bytes -------------'
 */
#define LC_MEMPOOL_FINE_MAX 2048u                              /* classes in steps of 16 up to here, */
#define LC_MEMPOOL_MAX 4096u                                   /* then doubling up to here */
#define LC_MEMPOOL_CLASSES (LC_MEMPOOL_FINE_MAX / 16u + 1 + 1) /* 0, 16 ... 2048, 4096 */
#define LC_MEMPOOL_HEAP UINT32_MAX                             /* `bytes` of a block that no class fits */

struct lc_mempool_block {
  uint32_t bytes; /* of the class, what keep_bytes counts; LC_MEMPOOL_HEAP never fits under it */
  uint32_t class_index;
  union {
    struct lc_mempool_block *next; /* on a free list */
    size_t heap_size;              /* of a heap block in use */
  } u;
};

struct lc_mempool {
  struct lc_mempool_block *free[LC_MEMPOOL_CLASSES];
  uint64_t kept_bytes, keep_bytes;
};

void *lc_mempool_alloc_slow(struct lc_mempool *pool, size_t size);
void lc_mempool_free_slow(struct lc_mempool *pool, struct lc_mempool_block *block);

/* Under AddressSanitizer only what the caller asked for may be touched; elsewhere these vanish. */
#if defined(__SANITIZE_ADDRESS__)
#define LC_MEMPOOL_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LC_MEMPOOL_CHECKED 1
#endif
#endif
#ifdef LC_MEMPOOL_CHECKED
#include <sanitizer/asan_interface.h>
#define LC_MEMPOOL_HIDE(ptr, size) ASAN_POISON_MEMORY_REGION((ptr), (size))
#define LC_MEMPOOL_SHOW(ptr, size) ASAN_UNPOISON_MEMORY_REGION((ptr), (size))
#else
#define LC_MEMPOOL_HIDE(ptr, size) ((void)(ptr), (void)(size))
#define LC_MEMPOOL_SHOW(ptr, size) ((void)(ptr), (void)(size))
#endif

static inline void *lc_mempool_alloc(struct lc_mempool *pool, size_t size) {
  if (size > LC_MEMPOOL_FINE_MAX)
    return lc_mempool_alloc_slow(pool, size);
  size_t index = (size + 15) / 16;
  struct lc_mempool_block *block = pool->free[index];
  if (!block)
    return lc_mempool_alloc_slow(pool, size);
  pool->free[index] = block->u.next;
  pool->kept_bytes -= block->bytes;
  LC_MEMPOOL_SHOW(block + 1, size);
  return block + 1;
}

static inline void lc_mempool_free(struct lc_mempool *pool, void *ptr) {
  if (!ptr)
    return;
  struct lc_mempool_block *block = (struct lc_mempool_block *)ptr - 1;
  uint64_t kept_bytes = pool->kept_bytes + block->bytes;
  if (kept_bytes > pool->keep_bytes) {
    lc_mempool_free_slow(pool, block);
    return;
  }
  LC_MEMPOOL_HIDE(ptr, block->bytes - sizeof *block);
  pool->kept_bytes = kept_bytes;
  block->u.next = pool->free[block->class_index];
  pool->free[block->class_index] = block;
}

#endif
