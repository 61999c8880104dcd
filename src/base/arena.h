#ifndef LC_BASE_ARENA_H
#define LC_BASE_ARENA_H

#include <stddef.h>

/*
 * Bump allocator for what one request needs: many small blocks, freed at once.
 * Blocks are aligned to 16 bytes. Not thread-safe. The first bytes come from a
 * buffer inside the owner (may be NULL), so that a small request never touches
 * the heap.
 */
struct lc_arena_chunk;

struct lc_arena {
  char *cur, *end;
  struct lc_arena_chunk *chunks;
  size_t used_bytes;  /* taken from the heap so far */
  size_t limit_bytes; /* heap bytes that may be taken in all */
};

void lc_arena_init(struct lc_arena *arena, void *first, size_t first_len, size_t limit_bytes);

/* Frees all; the arena is empty and must be initialised again before use. */
void lc_arena_fini(struct lc_arena *arena);

/* NULL when the heap is out or the limit reached. size 0 gives a valid pointer. */
void *lc_arena_alloc(struct lc_arena *arena, size_t size);

#endif
