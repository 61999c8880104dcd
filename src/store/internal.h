#ifndef LC_STORE_INTERNAL_H
#define LC_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/list.h"
#include "store/store.h"

/*
 * What the files of this folder share. Lock order: the pool's lock, then one shard's; never two shards. The pool's lock
 * is held for a choice of victim only. Functions that say "locked" want the shard's lock held.
 */

#define LC_ITEM_NEVER ((UINT64_C(1) << 48) - 1)
#define LC_VERSION_MASK ((UINT64_C(1) << 48) - 1)
#define LC_STAMP_MASK 0x7fffffffu
#define LC_SLICE_ITEMS 256u /* most items removed, or looked at, under one hold of a shard's lock */
#define LC_REASON_NONE 4u   /* replaced by a newer value: nobody is told */

/*
 *   | chain | lru prev, next | version, view, mirror | expires, key_len | refs | hash | value_len | stamp, level | key
 * | 0       8                24                      32                 40     44     48          52             56
 *
 * The value follows the key. What stands in bytes 24 to 40, value_len and the bytes never change once the item is
 * shared; the rest but refs belongs to the shard.
 */
struct lc_item {
  struct lc_item *chain; /* next in its bucket, then in the list of the doomed */
  struct lc_list lru;
  uint64_t version : 48;
  uint64_t view : 15;
  uint64_t mirror : 1;
  uint64_t expires_ms : 48;
  uint64_t key_len : 16;
  atomic_uint refs;
  uint32_t hash; /* the low half: picks the bucket */
  uint32_t value_len;
  uint32_t stamp : 31; /* the pool's clock at its last use; then why it was removed */
  uint32_t level2 : 1;
  uint8_t bytes[];
};

static inline bool lc_item_expired(const struct lc_item *item, uint64_t now_ms) {
  return item->expires_ms != LC_ITEM_NEVER && item->expires_ms <= now_ms;
}

static inline size_t lc_item_cost(const struct lc_item *item) {
  return lc_item_charge(item->key_len, item->value_len);
}

/* What was taken out under a lock and is freed after it. Zeroed means empty. */
struct lc_doomed {
  struct lc_item *items, *last; /* linked by chain, in the order they went */
  void *blocks;                 /* of the index, linked by their first word */
};

void lc_doomed_add_block(struct lc_doomed *doomed, void *block);
void lc_doomed_free_blocks(struct lc_doomed *doomed);

/*
 * A shard's hash table: chains, grown and shrunk one bucket at a time (linear hashing, Litwin 1980), in segments of
 * LC_SEGMENT_BUCKETS, so that no operation moves more than a few chains. Zeroed means empty.
 */
#define LC_SEGMENT_BUCKETS 256u

struct lc_index {
  struct lc_item ***directory;
  uint32_t directory_cap;
  uint32_t buckets;
  uint32_t mask; /* the power of two that holds `buckets`, less 1 */
};

/* Makes room for `items` in all. LC_ENOMEM only while there is no bucket at all; later growth is best effort. */
int lc_index_grow(struct lc_index *index, size_t items, struct lc_doomed *doomed);
void lc_index_shrink(struct lc_index *index, size_t items, struct lc_doomed *doomed);
void lc_index_fini(struct lc_index *index);

void lc_index_insert(struct lc_index *index, struct lc_item *item);
void lc_index_remove(struct lc_index *index, struct lc_item *item);

static inline struct lc_item **lc_index_bucket(const struct lc_index *index, uint32_t bucket) {
  return &index->directory[bucket / LC_SEGMENT_BUCKETS][bucket % LC_SEGMENT_BUCKETS];
}

static inline uint32_t lc_index_bucket_of(const struct lc_index *index, uint32_t hash) {
  uint32_t bucket = hash & index->mask;
  return bucket < index->buckets ? bucket : bucket & (index->mask >> 1);
}

static inline struct lc_item *lc_index_find(const struct lc_index *index, uint32_t hash, struct lc_slice key) {
  if (index->buckets == 0) {
    return NULL;
  }
  struct lc_item *item = *lc_index_bucket(index, lc_index_bucket_of(index, hash));
  while (item && !(item->hash == hash && lc_slice_eq(lc_slice_of(item->bytes, item->key_len), key))) {
    item = item->chain;
  }
  return item;
}

struct lc_shard {
  _Alignas(64) pthread_mutex_t lock;
  struct lc_index index;
  struct lc_list level1, level2; /* most recently used first; level2 stays empty under LRU */
  size_t items, bytes;
  struct lc_pool *pool;
  struct lc_store *store;
  bool two_levels;
  _Atomic uint64_t tail; /* what the pool's choice reads without the lock: LC_TAIL_SET | stamp, 0 when empty */
  size_t mirrors, mirror_bytes;
  uint64_t level2_items, puts, deletes, evictions[4], refused, demotions;
};

#define LC_TAIL_SET (UINT64_C(1) << 32)

struct lc_pool {
  size_t limit;
  char apart[64]; /* what every put writes, off the lines that are only read */
  atomic_size_t used;
  atomic_size_t level2; /* bytes in level 2 of all stores */
  _Atomic uint64_t versions;
  atomic_uint clock; /* puts so far: the age of items */
  char apart_too[64];
  pthread_mutex_t lock;
  pthread_cond_t unpinned;
  struct lc_shard **shards; /* of all stores */
  size_t count, cap, cursor;
};

struct lc_store {
  struct lc_pool *pool;
  struct lc_shard *shards;
  void *shards_block; /* shards, before alignment */
  unsigned shard_count;
  unsigned pins; /* evictions by other stores' puts under way; the pool's lock */
  const struct lc_hash_key *key;
  lc_store_evict_fn on_evict;
  void *on_evict_arg;
  size_t mirror_limit;
  atomic_size_t mirror_bytes; /* what the shards hold and puts have reserved; may be over by what a put replaces */
  unsigned sweep_shard;
  /* The sweeper's place: buckets of its shard not looked at yet, from the last down, as a shrinking index moves items
   * down; items of the present chain that were. */
  uint32_t sweep_left, sweep_skip;
};

static inline bool lc_pool_over(const struct lc_pool *pool) {
  return atomic_load_explicit(&pool->used, memory_order_relaxed) > pool->limit;
}

static inline bool lc_pool_level2_over(const struct lc_pool *pool) {
  return atomic_load_explicit(&pool->level2, memory_order_relaxed) > pool->limit / 2;
}

static inline uint32_t lc_pool_stamp(const struct lc_pool *pool) {
  return atomic_load_explicit(&pool->clock, memory_order_relaxed) & LC_STAMP_MASK;
}

/* How long ago a stamp was, in puts. */
static inline uint32_t lc_stamp_age(uint32_t now, uint32_t stamp) {
  uint32_t age = (now - stamp) & LC_STAMP_MASK;
  return age > LC_STAMP_MASK / 2 ? 0 : age; /* a stamp newer than `now` was read */
}

int lc_pool_join(struct lc_pool *pool, struct lc_store *store);   /* 0 or LC_ENOMEM */
void lc_pool_leave(struct lc_pool *pool, struct lc_store *store); /* waits until nobody evicts from it */
uint64_t lc_pool_next_version(struct lc_pool *pool);
void lc_pool_saw_version(struct lc_pool *pool, uint64_t version);

/* The shard to evict from next. `until`: it should give up only items at least that old, after the first. */
struct lc_victim {
  struct lc_shard *shard;
  uint32_t until;
};

/* False when every shard (but `own`, if skip_own) is empty. lc_pool_unpin must follow a true. */
bool lc_pool_pick(struct lc_pool *pool, struct lc_shard *own, bool skip_own, struct lc_victim *victim);
void lc_pool_unpin(struct lc_pool *pool, const struct lc_shard *own, struct lc_shard *victim);

/* Locked. An item's bytes are reserved before it is added; refused only if it is a mirror and `old` leaves no room. */
bool lc_shard_reserve(struct lc_shard *shard, const struct lc_item *item, const struct lc_item *old);
void lc_shard_add(struct lc_shard *shard, struct lc_item *item, bool level2, struct lc_doomed *doomed);
void lc_shard_touch_slow(struct lc_shard *shard, struct lc_item *item);
void lc_shard_remove(struct lc_shard *shard, struct lc_item *item, unsigned reason, struct lc_doomed *doomed);

/* Locked. A use: moves the item to where a hit belongs. Inline, for what nearly every hit does. */
static inline void lc_shard_touch(struct lc_shard *shard, struct lc_item *item) {
  const struct lc_list *last = lc_list_empty(&shard->level1) ? shard->level2.prev : shard->level1.prev;
  if ((shard->two_levels && !item->level2) || last == &item->lru) {
    lc_shard_touch_slow(shard, item);
    return;
  }
  struct lc_list *node = &item->lru;
  node->prev->next = node->next;
  node->next->prev = node->prev;
  lc_list_push_front(item->level2 ? &shard->level2 : &shard->level1, node);
  item->stamp = lc_pool_stamp(shard->pool) & LC_STAMP_MASK;
}

/* Locked. Evicts while the pool is over its limit, a slice at most, never `keep`. Returns how many went. */
unsigned lc_shard_evict(struct lc_shard *shard, const struct lc_item *keep, uint32_t until, uint64_t now_ms,
                        struct lc_doomed *doomed);

/* Locked. Removes up to a slice of items for `reason`. Returns how many. */
unsigned lc_shard_drop(struct lc_shard *shard, unsigned reason, struct lc_doomed *doomed);

struct lc_found {
  struct lc_item *item; /* with a reference */
  uint32_t age;
};

/* What lc_store_collect has so far. */
struct lc_collection {
  struct lc_found *found;
  size_t count, cap;
  uint64_t now_ms;
  uint32_t clock;
};

/*
 * Locked. Collects a slice, for which there must be room, from the place *at (0 at first, 2^32 at the end) and moves
 * it on. Returns 0, or how much room a chain longer than a slice needs: one that grew while there was no memory for
 * buckets.
 */
size_t lc_shard_collect(struct lc_shard *shard, uint64_t *at, struct lc_collection *to);

/* No lock held: tells on_evict, lets go of the items, frees the blocks. */
void lc_store_dispose(struct lc_store *store, struct lc_doomed *doomed);

#endif
