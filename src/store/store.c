#include "store/store.h"

#include "base/alloc.h"
#include "store/internal.h"

#define SHARDS_MAX 256u
#define SHARDS_CHOSEN_MAX 64u
#define BYTES_PER_SHARD ((size_t)4 << 20) /* how many shards are chosen for a limit */
#define CACHE_LINE 64u

static unsigned choose_shards(size_t limit_bytes) {
  unsigned shards = 1;
  while (shards < SHARDS_CHOSEN_MAX && limit_bytes / BYTES_PER_SHARD >= (size_t)shards * 2) {
    shards *= 2;
  }
  return shards;
}

static int check_config(const struct lc_store_config *config) {
  bool power_of_two = (config->shards & (config->shards - 1)) == 0;
  bool policy_known = config->policy == LC_POLICY_LRU || config->policy == LC_POLICY_LRU2;
  return config->pool && config->key && policy_known && power_of_two && config->shards <= SHARDS_MAX ? 0 : LC_EINVAL;
}

static void shard_init(struct lc_shard *shard, struct lc_store *store, enum lc_policy policy) {
  pthread_mutex_init(&shard->lock, NULL);
  lc_list_init(&shard->level1);
  lc_list_init(&shard->level2);
  atomic_init(&shard->tail, 0);
  shard->pool = store->pool;
  shard->store = store;
  shard->two_levels = policy == LC_POLICY_LRU2;
}

static int create_shards(struct lc_store *store, enum lc_policy policy) {
  store->shards_block = lc_calloc(1, store->shard_count * sizeof(struct lc_shard) + CACHE_LINE - 1);
  if (!store->shards_block) {
    return LC_ENOMEM;
  }
  uintptr_t aligned = ((uintptr_t)store->shards_block + CACHE_LINE - 1) & ~(uintptr_t)(CACHE_LINE - 1);
  store->shards = (struct lc_shard *)aligned;
  for (unsigned i = 0; i < store->shard_count; i++) {
    shard_init(&store->shards[i], store, policy);
  }
  return 0;
}

static void free_store(struct lc_store *store) {
  for (unsigned i = 0; store->shards && i < store->shard_count; i++) {
    lc_index_fini(&store->shards[i].index);
    pthread_mutex_destroy(&store->shards[i].lock);
  }
  lc_free(store->shards_block);
  lc_free(store);
}

int lc_store_create(const struct lc_store_config *config, struct lc_store **store) {
  if (check_config(config) != 0) {
    return LC_EINVAL;
  }
  struct lc_store *made = lc_calloc(1, sizeof(*made));
  if (!made) {
    return LC_ENOMEM;
  }
  made->pool = config->pool;
  made->key = config->key;
  made->mirror_limit = config->mirror_limit_bytes;
  atomic_init(&made->mirror_bytes, 0);
  made->on_evict = config->on_evict;
  made->on_evict_arg = config->on_evict_arg;
  made->sweep_left = UINT32_MAX;
  made->shard_count = config->shards ? config->shards : choose_shards(config->pool->limit);
  int rc = create_shards(made, config->policy);
  if (rc == 0) {
    rc = lc_pool_join(made->pool, made);
  }
  if (rc != 0) {
    free_store(made);
    return rc;
  }
  *store = made;
  return 0;
}

void lc_store_dispose(struct lc_store *store, struct lc_doomed *doomed) {
  while (doomed->items) {
    struct lc_item *item = doomed->items;
    doomed->items = item->chain;
    if (store->on_evict && item->stamp != LC_REASON_NONE) {
      store->on_evict(store->on_evict_arg, item, (enum lc_evict_reason)item->stamp);
    }
    lc_item_unref(item);
  }
  lc_doomed_free_blocks(doomed);
}

/* Empties the shard in slices; returns how many went. */
static size_t drop_all(struct lc_shard *shard, unsigned reason) {
  size_t gone = 0;
  unsigned slice;
  do {
    struct lc_doomed doomed = {0};
    pthread_mutex_lock(&shard->lock);
    slice = lc_shard_drop(shard, reason, &doomed);
    pthread_mutex_unlock(&shard->lock);
    lc_store_dispose(shard->store, &doomed);
    gone += slice;
  } while (slice > 0);
  return gone;
}

void lc_store_destroy(struct lc_store *store) {
  if (!store) {
    return;
  }
  lc_pool_leave(store->pool, store);
  for (unsigned i = 0; i < store->shard_count; i++) {
    drop_all(&store->shards[i], LC_REASON_NONE);
  }
  free_store(store);
}

size_t lc_store_clear(struct lc_store *store) {
  size_t gone = 0;
  for (unsigned i = 0; i < store->shard_count; i++) {
    gone += drop_all(&store->shards[i], LC_EVICT_CLEARED);
  }
  return gone;
}

uint64_t lc_store_hash(const struct lc_store *store, struct lc_slice key) {
  return lc_hash_keyed(store->key, key);
}

/* By the top byte; buckets go by the low half. */
static struct lc_shard *shard_of(struct lc_store *store, uint64_t hash) {
  return &store->shards[(hash >> 56) & (store->shard_count - 1)];
}

/* Locked. The unexpired item of the key or NULL; an expired one is removed. */
static struct lc_item *find_live(struct lc_shard *shard, struct lc_slice key, uint64_t hash, uint64_t now_ms,
                                 struct lc_doomed *doomed) {
  struct lc_item *item = lc_index_find(&shard->index, (uint32_t)hash, key);
  if (item && lc_item_expired(item, now_ms)) {
    lc_shard_remove(shard, item, LC_EVICT_EXPIRED, doomed);
    return NULL;
  }
  return item;
}

/* Locked, and unlocks: the rest of a look-up that is no hit. Kept out of line, so that a hit doesn't pay for its frame.
 */
static __attribute__((noinline)) struct lc_item *look_up_missed(struct lc_shard *shard, struct lc_item *expired) {
  struct lc_doomed doomed = {0};
  if (expired) {
    lc_shard_remove(shard, expired, LC_EVICT_EXPIRED, &doomed);
  }
  pthread_mutex_unlock(&shard->lock);
  lc_store_dispose(shard->store, &doomed);
  return NULL;
}

static inline struct lc_item *look_up(struct lc_store *store, struct lc_slice key, uint64_t hash, uint64_t now_ms,
                                      bool touch) {
  struct lc_shard *shard = shard_of(store, hash);
  pthread_mutex_lock(&shard->lock);
  struct lc_item *item = lc_index_find(&shard->index, (uint32_t)hash, key);
  if (!item || lc_item_expired(item, now_ms)) {
    return look_up_missed(shard, item);
  }
  atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
  if (touch) {
    lc_shard_touch(shard, item);
  }
  pthread_mutex_unlock(&shard->lock);
  return item;
}

struct lc_item *lc_store_get(struct lc_store *store, struct lc_slice key, uint64_t hash, uint64_t now_ms) {
  return look_up(store, key, hash, now_ms, true);
}

struct lc_item *lc_store_peek(struct lc_store *store, struct lc_slice key, uint64_t hash, uint64_t now_ms) {
  return look_up(store, key, hash, now_ms, false);
}

static void give_version(struct lc_pool *pool, struct lc_item *item) {
  if (item->version == 0) {
    item->version = lc_pool_next_version(pool) & LC_VERSION_MASK;
  } else {
    lc_pool_saw_version(pool, item->version);
  }
}

/* Locked. Whether the item may enter at all, in place of `old` if there is one; after a 0 it must. */
static int admit(struct lc_shard *shard, const struct lc_item *item, const struct lc_item *old,
                 struct lc_doomed *doomed) {
  if (lc_item_cost(item) > shard->pool->limit / 4) {
    return LC_ETOOBIG;
  }
  int rc = lc_index_grow(&shard->index, shard->items + 1, doomed);
  if (rc != 0) {
    return rc;
  }
  return lc_shard_reserve(shard, item, old) ? 0 : LC_EEXHAUSTED;
}

/* Locked. The value that replaces another keeps its key's level. */
static int put_locked(struct lc_shard *shard, struct lc_item *item, uint64_t hash, uint64_t now_ms,
                      struct lc_doomed *doomed) {
  struct lc_item *old = find_live(shard, lc_item_key(item), hash, now_ms, doomed);
  bool level2 = old && old->level2;
  int rc = admit(shard, item, old, doomed);
  if (old) {
    lc_shard_remove(shard, old, rc == 0 ? LC_REASON_NONE : LC_EVICT_DELETED, doomed);
  }
  if (rc != 0) {
    shard->refused += rc == LC_ETOOBIG;
    return rc;
  }
  give_version(shard->pool, item);
  item->hash = (uint32_t)hash;
  atomic_fetch_add_explicit(&shard->pool->clock, 1, memory_order_relaxed);
  lc_shard_add(shard, lc_item_ref(item), level2, doomed);
  shard->puts++;
  return 0;
}

/*
 * Evicts until the limit holds, from whichever shard of the pool has the oldest items. Ends early when nothing is left
 * to take but what other threads are putting at this moment: they see to the rest.
 */
static void settle_pool(struct lc_shard *own, const struct lc_item *keep, uint64_t now_ms) {
  struct lc_pool *pool = own->pool;
  bool own_spent = false;
  struct lc_victim victim;
  while (lc_pool_over(pool) && lc_pool_pick(pool, own, own_spent, &victim)) {
    struct lc_doomed doomed = {0};
    pthread_mutex_lock(&victim.shard->lock);
    unsigned gone = lc_shard_evict(victim.shard, keep, victim.until, now_ms, &doomed);
    pthread_mutex_unlock(&victim.shard->lock);
    lc_store_dispose(victim.shard->store, &doomed);
    own_spent = own_spent || (gone == 0 && victim.shard == own);
    lc_pool_unpin(pool, own, victim.shard);
  }
}

static void keep_rest(struct lc_store_rest *rest, const struct lc_doomed *doomed) {
  rest->items = doomed->items;
  rest->last = doomed->last;
  rest->blocks = doomed->blocks;
}

int lc_store_put_rest(struct lc_store *store, struct lc_item *item, uint64_t hash, uint64_t now_ms,
                      struct lc_store_rest *rest) {
  struct lc_shard *shard = shard_of(store, hash);
  struct lc_doomed doomed = {0};
  pthread_mutex_lock(&shard->lock);
  int rc = put_locked(shard, item, hash, now_ms, &doomed);
  pthread_mutex_unlock(&shard->lock);
  *rest = (struct lc_store_rest){.store = store, .put = rc == 0 ? item : NULL, .hash = hash, .now_ms = now_ms};
  keep_rest(rest, &doomed);
  return rc;
}

bool lc_store_holds(struct lc_store *store, const struct lc_item *item, uint64_t hash) {
  struct lc_shard *shard = shard_of(store, hash);
  pthread_mutex_lock(&shard->lock);
  bool held = lc_index_find(&shard->index, (uint32_t)hash, lc_item_key(item)) == item;
  pthread_mutex_unlock(&shard->lock);
  return held;
}

bool lc_store_delete_rest(struct lc_store *store, struct lc_slice key, uint64_t hash, uint64_t now_ms,
                          struct lc_store_rest *rest) {
  struct lc_shard *shard = shard_of(store, hash);
  struct lc_doomed doomed = {0};
  pthread_mutex_lock(&shard->lock);
  struct lc_item *item = find_live(shard, key, hash, now_ms, &doomed);
  if (item) {
    lc_shard_remove(shard, item, LC_EVICT_DELETED, &doomed);
    shard->deletes++;
  }
  pthread_mutex_unlock(&shard->lock);
  *rest = (struct lc_store_rest){.store = store};
  keep_rest(rest, &doomed);
  return item != NULL;
}

void lc_store_finish(struct lc_store_rest *rest) {
  struct lc_doomed doomed = {.items = rest->items, .last = rest->last, .blocks = rest->blocks};
  if (!rest->store) {
    return;
  }
  lc_store_dispose(rest->store, &doomed);
  if (rest->put) {
    settle_pool(shard_of(rest->store, rest->hash), rest->put, rest->now_ms);
  }
}

int lc_store_put(struct lc_store *store, struct lc_item *item, uint64_t hash, uint64_t now_ms) {
  struct lc_store_rest rest;
  int rc = lc_store_put_rest(store, item, hash, now_ms, &rest);
  lc_store_finish(&rest);
  return rc;
}

bool lc_store_delete(struct lc_store *store, struct lc_slice key, uint64_t hash, uint64_t now_ms) {
  struct lc_store_rest rest;
  bool deleted = lc_store_delete_rest(store, key, hash, now_ms, &rest);
  lc_store_finish(&rest);
  return deleted;
}
