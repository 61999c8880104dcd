#ifndef LC_STORE_STORE_H
#define LC_STORE_STORE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/hash.h"
#include "store/item.h"

/*
 * The store: a sharded hash table with LRU or two-level LRU eviction and expiry. A group has one store; stores that
 * share a byte budget share a pool. Thread-safe: a mutex per shard, never held over callbacks or the freeing of an
 * item. Time is an argument everywhere (milliseconds, monotonic), so that a test moves it.
 *
 * LRU2: a new item enters level 1; a hit moves it to level 2; what overflows level 2 goes back to the head of level 1,
 * and only the tail of level 1 is evicted. Level 2 overflows when the stores of the pool hold over half of the limit in
 * it: the shard at hand then demotes its tails, but never the item just promoted, so each shard may be over by one
 * item. The value that replaces another keeps its key's level. A shard whose level 1 is empty evicts level 2's tail.
 */

/*
 * A byte budget that one store, or several, share. What must go goes by age over all shards of all stores, roughly: a
 * put compares the oldest item of its own shard with those of eight others.
 */
struct lc_pool;

int lc_pool_create(size_t limit_bytes, struct lc_pool **pool); /* 0 or LC_ENOMEM */
void lc_pool_destroy(struct lc_pool *pool);                    /* after its stores; NULL is fine */
size_t lc_pool_used(const struct lc_pool *pool);               /* bytes charged now */
size_t lc_pool_limit(const struct lc_pool *pool);

enum lc_policy { LC_POLICY_LRU2, LC_POLICY_LRU };

enum lc_evict_reason { LC_EVICT_SIZE, LC_EVICT_EXPIRED, LC_EVICT_DELETED, LC_EVICT_CLEARED };

/*
 * Told of each item that left the store (not of one replaced by a newer value of its key), outside any lock, on the
 * thread whose call removed it: for LC_EVICT_SIZE that may be a put into another store of the pool. The item is valid
 * during the call; take a reference to keep it. It may call any store but must not destroy one.
 */
typedef void (*lc_store_evict_fn)(void *arg, struct lc_item *item, enum lc_evict_reason reason);

struct lc_store_config {
  struct lc_pool *pool; /* borrowed; outlives the store */
  enum lc_policy policy;
  unsigned shards;               /* a power of two, 1 to 256; 0: chosen from the pool's limit */
  const struct lc_hash_key *key; /* borrowed; outlives the store */
  size_t mirror_limit_bytes;     /* of all mirrors together; 0: none is taken */
  lc_store_evict_fn on_evict;    /* may be NULL */
  void *on_evict_arg;
};

struct lc_store;

int lc_store_create(const struct lc_store_config *config, struct lc_store **store); /* 0, LC_ENOMEM, LC_EINVAL */

/*
 * Drops all items without on_evict. Items that readers hold live on. Waits for evictions from this store that puts into
 * others have under way; on_evict isn't called after it returns. NULL is fine.
 */
void lc_store_destroy(struct lc_store *store);

/* The hash that every call below takes: computed once for a request, also used to pick a flight shard. */
uint64_t lc_store_hash(const struct lc_store *store, struct lc_slice key);

/*
 * The item with a reference for the caller, moved to where a hit belongs; NULL for a miss (absent or expired; an
 * expired item is removed). Never allocates.
 */
struct lc_item *lc_store_get(struct lc_store *store, struct lc_slice key, uint64_t hash, uint64_t now_ms);

/* The same without counting as a use. For statistics, tests and only-if-cached peeks. */
struct lc_item *lc_store_peek(struct lc_store *store, struct lc_slice key, uint64_t hash, uint64_t now_ms);

/*
 * Puts the item in place of any older one of its key and evicts until the pool's limit holds: when this returns it
 * does, but for items that other threads are putting at this moment, each of whom sees to its own. The store takes a
 * reference of its own; the caller keeps its. An item may be put once, into one store. Gives it a version if it has
 * none (unique in its pool, and above all that the pool has seen). Errors, which leave no item under the key and evict
 * nothing else (on_evict hears of the key's old value as LC_EVICT_DELETED): LC_ETOOBIG, its charge is over a quarter of
 * the pool's limit; LC_EEXHAUSTED, a mirror for which mirror_limit_bytes has no room, counting what it would replace as
 * free and what other threads are replacing as taken; LC_ENOMEM, no memory for the first block of the index. Growing it
 * later may fail without harm.
 */
int lc_store_put(struct lc_store *store, struct lc_item *item, uint64_t hash, uint64_t now_ms);

/* True if an unexpired item was there. on_evict hears LC_EVICT_DELETED. */
bool lc_store_delete(struct lc_store *store, struct lc_slice key, uint64_t hash, uint64_t now_ms);

/*
 * The same two for a caller that holds a lock of its own: what they took out is told of and freed, and the pool brought
 * under its limit, by lc_store_finish, which must follow once that lock is released, whatever they returned. The
 * caller's reference of `item` must last until then.
 */
struct lc_store_rest {
  struct lc_store *store;
  struct lc_item *put; /* NULL after a delete or a put that failed */
  uint64_t hash, now_ms;
  struct lc_item *items, *last; /* taken out, private */
  void *blocks;
};

int lc_store_put_rest(struct lc_store *store, struct lc_item *item, uint64_t hash, uint64_t now_ms,
                      struct lc_store_rest *rest);
bool lc_store_delete_rest(struct lc_store *store, struct lc_slice key, uint64_t hash, uint64_t now_ms,
                          struct lc_store_rest *rest);
void lc_store_finish(struct lc_store_rest *rest); /* of a zeroed rest: nothing */

/*
 * All items that are no mirrors and not expired, the most recently used first (roughly: by the stamps of the LRU), each
 * with a reference for the caller, who frees the array by lc_free (there is one even for no items). No shard's lock is
 * held for more than LC_SLICE_ITEMS items at a time. What stays in the store all the while is there once; what comes or
 * goes meanwhile may be missing or there. 0 or LC_ENOMEM. Needs 32 bytes an item while it works, 8 after.
 */
int lc_store_collect(struct lc_store *store, uint64_t now_ms, struct lc_item ***items, size_t *count);

/* Whether this very item is in the store: nothing has replaced or removed it. */
bool lc_store_holds(struct lc_store *store, const struct lc_item *item, uint64_t hash);

/* Removes all items that were there when it began, in bounded slices; perhaps some put meanwhile. Returns how many. */
size_t lc_store_clear(struct lc_store *store);

/*
 * Removes expired items: looks at up to max_items items, going on where the last call stopped. Returns how many were
 * removed. One thread at a time.
 */
size_t lc_store_sweep(struct lc_store *store, uint64_t now_ms, size_t max_items);

struct lc_store_stats {
  uint64_t items, bytes;          /* now; bytes as charged */
  uint64_t level2_items;          /* 0 for LRU */
  uint64_t puts, deletes;         /* since the start */
  uint64_t evictions[4];          /* by lc_evict_reason */
  uint64_t refused;               /* puts refused for their size */
  uint64_t demotions;             /* from level 2 to level 1 */
  uint64_t mirrors, mirror_bytes; /* now, of the items and bytes above */
};

/* Sums over the shards; each number is exact, all together are not one instant's. */
void lc_store_stats(struct lc_store *store, struct lc_store_stats *stats);

/*
 * Checks every invariant (links, counts, bytes, levels) of all stores of this one's pool; 0 or LC_EINTERNAL with what
 * is wrong. For tests; slow. No other thread may be using the pool's stores.
 */
int lc_store_check(struct lc_store *store, struct lc_err *err);

#endif
