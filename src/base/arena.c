#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>

#include "base/alloc.h"

#define ALIGN ((size_t)16)
#define MIN_CHUNK_BYTES ((size_t)4096)
#define MAX_CHUNK_BYTES ((size_t)65536)

/* Followed by its bytes. */
struct lc_arena_chunk {
  alignas(16) struct lc_arena_chunk *next;
};

static size_t to_boundary(const char *ptr) {
  return -(uintptr_t)ptr & (ALIGN - 1);
}

void lc_arena_init(struct lc_arena *arena, void *first, size_t first_len, size_t limit_bytes) {
  *arena = (struct lc_arena){.limit_bytes = limit_bytes};
  if (!first || to_boundary(first) >= first_len)
    return;
  arena->cur = (char *)first + to_boundary(first);
  arena->end = (char *)first + first_len;
}

void lc_arena_fini(struct lc_arena *arena) {
  while (arena->chunks) {
    struct lc_arena_chunk *chunk = arena->chunks;
    arena->chunks = chunk->next;
    lc_free(chunk);
  }
  *arena = (struct lc_arena){0};
}

static char *take_chunk(struct lc_arena *arena, size_t bytes) {
  struct lc_arena_chunk *chunk = lc_malloc(bytes);
  if (!chunk)
    return NULL;
  chunk->next = arena->chunks;
  arena->chunks = chunk;
  arena->used_bytes += bytes;
  return (char *)(chunk + 1);
}

/* Chunks grow with what the request has needed so far, within bounds, so that a big one takes few. */
static size_t next_chunk_bytes(const struct lc_arena *arena) {
  size_t bytes = arena->used_bytes < MIN_CHUNK_BYTES ? MIN_CHUNK_BYTES : arena->used_bytes;
  if (bytes > MAX_CHUNK_BYTES)
    bytes = MAX_CHUNK_BYTES;
  size_t left = arena->limit_bytes - arena->used_bytes;
  return bytes < left ? bytes : left;
}

static void *alloc_from_heap(struct lc_arena *arena, size_t size) {
  size_t left = arena->limit_bytes - arena->used_bytes;
  if (left < sizeof(struct lc_arena_chunk) || size > left - sizeof(struct lc_arena_chunk))
    return NULL;
  size_t alone = size + sizeof(struct lc_arena_chunk);
  size_t bytes = next_chunk_bytes(arena);
  /* A large block gets a chunk of its own and the rest of the present chunk stays in use. */
  if (alone > bytes / 4)
    return take_chunk(arena, alone);
  char *block = take_chunk(arena, bytes);
  if (!block)
    return NULL;
  arena->cur = block + size;
  arena->end = block + bytes - sizeof(struct lc_arena_chunk);
  return block;
}

void *lc_arena_alloc(struct lc_arena *arena, size_t size) {
  if (size > SIZE_MAX - ALIGN)
    return NULL;
  size = size ? (size + ALIGN - 1) & ~(ALIGN - 1) : ALIGN;
  if ((size_t)(arena->end - arena->cur) < size)
    return alloc_from_heap(arena, size);
  void *block = arena->cur;
  arena->cur += size;
  return block;
}
