#include "base/pool.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"

static_assert(sizeof(struct lc_mempool_block) == 16, "blocks keep malloc's alignment");

struct lc_mempool *lc_mempool_create(size_t keep_bytes) {
  struct lc_mempool *pool = lc_calloc(1, sizeof *pool);
  if (!pool)
    return NULL;
  pool->keep_bytes = keep_bytes < LC_MEMPOOL_HEAP ? keep_bytes : LC_MEMPOOL_HEAP - 1;
  return pool;
}

void lc_mempool_destroy(struct lc_mempool *pool) {
  if (!pool)
    return;
  for (size_t i = 0; i < LC_MEMPOOL_CLASSES; i++) {
    while (pool->free[i]) {
      struct lc_mempool_block *block = pool->free[i];
      pool->free[i] = block->u.next;
      lc_mempool_free_slow(pool, block);
    }
  }
  lc_free(pool);
}

/* The smallest class that holds `size`, at most LC_MEMPOOL_MAX, and how much it holds. */
static uint32_t class_of(size_t size, size_t *capacity) {
  uint32_t index = (uint32_t)((size + 15) / 16);
  *capacity = index * 16u;
  if (size <= LC_MEMPOOL_FINE_MAX)
    return index;
  index = LC_MEMPOOL_FINE_MAX / 16;
  for (*capacity = LC_MEMPOOL_FINE_MAX; *capacity < size; *capacity *= 2)
    index++;
  return index;
}

static size_t capacity_of(const struct lc_mempool_block *block) {
  return block->bytes == LC_MEMPOOL_HEAP ? block->u.heap_size : block->bytes - sizeof *block;
}

static void *alloc_from_heap(size_t size) {
  if (size > SIZE_MAX - sizeof(struct lc_mempool_block))
    return NULL;
  struct lc_mempool_block *block = lc_malloc(sizeof *block + size);
  if (!block)
    return NULL;
  *block = (struct lc_mempool_block){.bytes = LC_MEMPOOL_HEAP, .u.heap_size = size};
  return block + 1;
}

void *lc_mempool_alloc_slow(struct lc_mempool *pool, size_t size) {
  if (size > LC_MEMPOOL_MAX)
    return alloc_from_heap(size);
  size_t capacity;
  uint32_t index = class_of(size, &capacity);
  struct lc_mempool_block *block = pool->free[index];
  if (block) {
    pool->free[index] = block->u.next;
    pool->kept_bytes -= block->bytes;
  } else {
    block = lc_malloc(sizeof *block + capacity);
    if (!block)
      return NULL;
    *block = (struct lc_mempool_block){.bytes = (uint32_t)(sizeof *block + capacity), .class_index = index};
  }
  LC_MEMPOOL_HIDE(block + 1, capacity);
  LC_MEMPOOL_SHOW(block + 1, size);
  return block + 1;
}

void lc_mempool_free_slow(struct lc_mempool *pool, struct lc_mempool_block *block) {
  (void)pool;
  if (block->bytes != LC_MEMPOOL_HEAP)
    LC_MEMPOOL_SHOW(block + 1, capacity_of(block));
  lc_free(block);
}

void *lc_mempool_calloc(struct lc_mempool *pool, size_t count, size_t size) {
  size_t total;
  if (__builtin_mul_overflow(count, size, &total))
    return NULL;
  void *ptr = lc_mempool_alloc(pool, total);
  if (ptr)
    memset(ptr, 0, total);
  return ptr;
}

static void *realloc_on_heap(struct lc_mempool_block *block, size_t size) {
  if (size > SIZE_MAX - sizeof *block)
    return NULL;
  block = lc_realloc(block, sizeof *block + size);
  if (!block)
    return NULL;
  block->u.heap_size = size;
  return block + 1;
}

void *lc_mempool_realloc(struct lc_mempool *pool, void *ptr, size_t size) {
  if (!ptr)
    return lc_mempool_alloc(pool, size);
  struct lc_mempool_block *block = (struct lc_mempool_block *)ptr - 1;
  size_t capacity = capacity_of(block);
  bool on_heap = block->bytes == LC_MEMPOOL_HEAP;
  if (on_heap && size > LC_MEMPOOL_MAX)
    return realloc_on_heap(block, size);
  if (!on_heap && size <= capacity) {
    LC_MEMPOOL_HIDE(ptr, capacity);
    LC_MEMPOOL_SHOW(ptr, size);
    return ptr;
  }
  void *moved = lc_mempool_alloc(pool, size);
  if (!moved)
    return NULL;
  /* A class's capacity may pass what was asked for, and the bytes between are off limits under AddressSanitizer. */
  LC_MEMPOOL_SHOW(ptr, capacity);
  memcpy(moved, ptr, size < capacity ? size : capacity);
  lc_mempool_free(pool, ptr);
  return moved;
}
