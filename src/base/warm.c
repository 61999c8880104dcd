#include "base/warm.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"

#define BLOCKS_MAX 16u

struct block {
  uint8_t *data;
  size_t size;
};

/* A part of the heap, so it belongs to the process as that does. Oldest first. */
static struct {
  pthread_mutex_t lock;
  struct block blocks[BLOCKS_MAX];
  size_t count, bytes;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct block take_out(size_t i) {
  struct block block = kept.blocks[i];
  kept.count--;
  kept.bytes -= block.size;
  memmove(&kept.blocks[i], &kept.blocks[i + 1], (kept.count - i) * sizeof block);
  return block;
}

/* The newest whose size is near enough, between half and double: what differs is cut off, or faulted in. */
static struct block take_near(size_t size) {
  struct block block = {0};
  pthread_mutex_lock(&kept.lock);
  for (size_t i = kept.count; i-- > 0 && !block.data;) {
    size_t has = kept.blocks[i].size;
    if (has / 2 <= size && size / 2 <= has)
      block = take_out(i);
  }
  pthread_mutex_unlock(&kept.lock);
  return block;
}

void *lc_warm_alloc(size_t size) {
  struct block block = size >= LC_WARM_MIN && size <= LC_WARM_KEEP ? take_near(size) : (struct block){0};
  if (!block.data)
    return lc_malloc(size);
  LC_MEMPOOL_SHOW(block.data, block.size);
  void *cut = lc_realloc(block.data, size);
  if (!cut)
    lc_free(block.data);
  return cut;
}

void lc_warm_free(void *data, size_t size) {
  if (!data || size < LC_WARM_MIN || size > LC_WARM_KEEP) {
    lc_free(data);
    return;
  }
  struct block old[BLOCKS_MAX];
  size_t old_count = 0;
  LC_MEMPOOL_HIDE(data, size);
  pthread_mutex_lock(&kept.lock);
  while (kept.count == BLOCKS_MAX || kept.bytes + size > LC_WARM_KEEP)
    old[old_count++] = take_out(0);
  kept.blocks[kept.count++] = (struct block){data, size};
  kept.bytes += size;
  pthread_mutex_unlock(&kept.lock);
  for (size_t i = 0; i < old_count; i++)
    lc_free(old[i].data);
}

void lc_warm_drop(void) {
  pthread_mutex_lock(&kept.lock);
  while (kept.count > 0)
    lc_free(take_out(kept.count - 1).data);
  pthread_mutex_unlock(&kept.lock);
}
