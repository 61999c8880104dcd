#include "group/heat.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/err.h"

/* A slot: | tag, 20 bits | count in 1/256, 20 bits | time of the count in ticks, 24 bits |; 0 is an empty one. */
#define TICK_MS 16u
#define TICK_BITS 24u
#define TICK_MASK ((1u << TICK_BITS) - 1)
#define COUNT_BITS 20u
#define COUNT_MAX ((1u << COUNT_BITS) - 1)
#define ONE 256u
#define HALF_LIFE_MS 1000u
#define HOT (ONE * 7) /* what 3.5 forwards a second settle at */

struct lc_heat {
  _Atomic uint64_t slots[LC_HEAT_SLOTS];
};

int lc_heat_create(struct lc_heat **heat) {
  *heat = lc_calloc(1, sizeof **heat);
  return *heat ? LC_OK : LC_ENOMEM;
}

void lc_heat_destroy(struct lc_heat *heat) {
  lc_free(heat);
}

/* Halves once a second, and between two halvings goes along the straight line. */
static uint32_t decay(uint32_t count, uint32_t ticks) {
  uint64_t ms = (uint64_t)ticks * TICK_MS;
  uint64_t halvings = ms / HALF_LIFE_MS;
  if (halvings >= COUNT_BITS)
    return 0;
  count >>= halvings;
  return count - (uint32_t)(count * (ms % HALF_LIFE_MS) / (2 * HALF_LIFE_MS));
}

bool lc_heat_add(struct lc_heat *heat, uint64_t hash, uint64_t now_ms) {
  _Atomic uint64_t *slot = &heat->slots[hash % LC_HEAT_SLOTS];
  uint64_t was = atomic_load_explicit(slot, memory_order_relaxed);
  uint64_t tag = hash >> (TICK_BITS + COUNT_BITS);
  uint32_t now = (uint32_t)(now_ms / TICK_MS) & TICK_MASK;
  uint32_t ticks = (now - (uint32_t)was) & TICK_MASK;
  /* Another worker's clock may be a moment ahead. */
  uint32_t count = decay((uint32_t)(was >> TICK_BITS) & COUNT_MAX, ticks > TICK_MASK / 2 ? 0 : ticks);
  if (was >> (TICK_BITS + COUNT_BITS) != tag) {
    if (count >= ONE / 2)
      return false;
    count = 0;
  }
  count = count > COUNT_MAX - ONE ? COUNT_MAX : count + ONE;
  atomic_store_explicit(slot, tag << (TICK_BITS + COUNT_BITS) | (uint64_t)count << TICK_BITS | now,
                        memory_order_relaxed);
  return count >= HOT;
}
