#include <assert.h>

#include "store/internal.h"

static struct lc_item *item_of(struct lc_list *node) {
  return lc_container_of(node, struct lc_item, lru);
}

/* The least recently used of a list but `keep`, or NULL. */
static struct lc_item *last_of(struct lc_list *list, const struct lc_item *keep) {
  struct lc_list *node = list->prev;
  if (keep && node == &keep->lru) {
    node = node->prev;
  }
  return node == list ? NULL : item_of(node);
}

/* The next to go: level 1's tail; level 2's (demoted and evicted in one step) when level 1 is empty. */
static struct lc_item *next_victim(struct lc_shard *shard, const struct lc_item *keep) {
  struct lc_item *item = last_of(&shard->level1, keep);
  return item ? item : last_of(&shard->level2, keep);
}

static void publish_tail(struct lc_shard *shard) {
  const struct lc_item *item = next_victim(shard, NULL);
  uint64_t tail = item ? LC_TAIL_SET | item->stamp : 0;
  atomic_store_explicit(&shard->tail, tail, memory_order_relaxed);
}

static void link_item(struct lc_shard *shard, struct lc_item *item, bool level2) {
  item->level2 = level2;
  item->stamp = lc_pool_stamp(shard->pool) & LC_STAMP_MASK;
  lc_list_push_front(level2 ? &shard->level2 : &shard->level1, &item->lru);
  if (level2) {
    shard->level2_items++;
    atomic_fetch_add_explicit(&shard->pool->level2, lc_item_cost(item), memory_order_relaxed);
  }
}

static void unlink_item(struct lc_shard *shard, struct lc_item *item) {
  lc_list_remove(&item->lru);
  if (item->level2) {
    shard->level2_items--;
    atomic_fetch_sub_explicit(&shard->pool->level2, lc_item_cost(item), memory_order_relaxed);
  }
}

/* Demotes level 2's tail, up to `most` times, while the pool's level 2 holds too much. */
static void settle_level2(struct lc_shard *shard, const struct lc_item *keep, unsigned most) {
  unsigned moved = 0;
  while (moved < most && lc_pool_level2_over(shard->pool)) {
    struct lc_item *item = last_of(&shard->level2, NULL);
    if (!item || item == keep) {
      break;
    }
    unlink_item(shard, item);
    link_item(shard, item, false);
    moved++;
  }
  shard->demotions += moved;
}

bool lc_shard_reserve(struct lc_shard *shard, const struct lc_item *item, const struct lc_item *old) {
  if (!item->mirror) {
    return true;
  }
  struct lc_store *store = shard->store;
  size_t cost = lc_item_cost(item);
  size_t limit = store->mirror_limit + (old && old->mirror ? lc_item_cost(old) : 0);
  size_t used = atomic_load_explicit(&store->mirror_bytes, memory_order_relaxed);
  do {
    if (store->mirror_limit == 0 || used > limit || cost > limit - used) {
      return false;
    }
  } while (!atomic_compare_exchange_weak_explicit(&store->mirror_bytes, &used, used + cost, memory_order_relaxed,
                                                  memory_order_relaxed));
  return true;
}

/* The pool's and the shard's sums, as an item comes or goes; what a mirror needs in the store's was reserved. */
static void count_in(struct lc_shard *shard, const struct lc_item *item) {
  size_t cost = lc_item_cost(item);
  shard->items++;
  shard->bytes += cost;
  atomic_fetch_add_explicit(&shard->pool->used, cost, memory_order_relaxed);
  if (item->mirror) {
    shard->mirrors++;
    shard->mirror_bytes += cost;
  }
}

static void count_out(struct lc_shard *shard, const struct lc_item *item) {
  size_t cost = lc_item_cost(item);
  shard->items--;
  shard->bytes -= cost;
  atomic_fetch_sub_explicit(&shard->pool->used, cost, memory_order_relaxed);
  if (item->mirror) {
    shard->mirrors--;
    shard->mirror_bytes -= cost;
    atomic_fetch_sub_explicit(&shard->store->mirror_bytes, cost, memory_order_relaxed);
  }
}

void lc_shard_add(struct lc_shard *shard, struct lc_item *item, bool level2, struct lc_doomed *doomed) {
  assert(!item->lru.next || item->lru.next == &item->lru);
  lc_index_insert(&shard->index, item);
  link_item(shard, item, level2);
  count_in(shard, item);
  (void)lc_index_grow(&shard->index, shard->items, doomed);
  if (level2) {
    settle_level2(shard, item, LC_SLICE_ITEMS);
  }
  publish_tail(shard);
}

void lc_shard_touch_slow(struct lc_shard *shard, struct lc_item *item) {
  bool promoted = !item->level2 && shard->two_levels;
  unlink_item(shard, item);
  link_item(shard, item, item->level2 || promoted);
  if (promoted) {
    settle_level2(shard, item, LC_SLICE_ITEMS);
  }
  publish_tail(shard);
}

static void take_out(struct lc_shard *shard, struct lc_item *item, unsigned reason, struct lc_doomed *doomed) {
  lc_index_remove(&shard->index, item);
  unlink_item(shard, item);
  count_out(shard, item);
  lc_index_shrink(&shard->index, shard->items, doomed);
  if (reason != LC_REASON_NONE) {
    shard->evictions[reason]++;
  }
  item->stamp = reason & LC_STAMP_MASK;
  item->chain = NULL;
  *(doomed->last ? &doomed->last->chain : &doomed->items) = item;
  doomed->last = item;
}

void lc_shard_remove(struct lc_shard *shard, struct lc_item *item, unsigned reason, struct lc_doomed *doomed) {
  take_out(shard, item, reason, doomed);
  publish_tail(shard);
}

unsigned lc_shard_evict(struct lc_shard *shard, const struct lc_item *keep, uint32_t until, uint64_t now_ms,
                        struct lc_doomed *doomed) {
  unsigned gone = 0;
  while (gone < LC_SLICE_ITEMS && lc_pool_over(shard->pool)) {
    struct lc_item *item = next_victim(shard, keep);
    if (!item || (gone > 0 && lc_stamp_age(lc_pool_stamp(shard->pool), item->stamp) < until)) {
      break;
    }
    take_out(shard, item, lc_item_expired(item, now_ms) ? LC_EVICT_EXPIRED : LC_EVICT_SIZE, doomed);
    settle_level2(shard, keep, 1);
    gone++;
  }
  publish_tail(shard);
  return gone;
}

unsigned lc_shard_drop(struct lc_shard *shard, unsigned reason, struct lc_doomed *doomed) {
  unsigned gone = 0;
  struct lc_item *item;
  while (gone < LC_SLICE_ITEMS && (item = next_victim(shard, NULL))) {
    take_out(shard, item, reason, doomed);
    gone++;
  }
  publish_tail(shard);
  return gone;
}
