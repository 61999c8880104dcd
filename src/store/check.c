#include "store/internal.h"

static void add_stats(struct lc_store_stats *stats, const struct lc_shard *shard) {
  stats->items += shard->items;
  stats->bytes += shard->bytes;
  stats->level2_items += shard->level2_items;
  stats->puts += shard->puts;
  stats->deletes += shard->deletes;
  stats->refused += shard->refused;
  stats->demotions += shard->demotions;
  stats->mirrors += shard->mirrors;
  stats->mirror_bytes += shard->mirror_bytes;
  for (unsigned i = 0; i < LC_REASON_NONE; i++) {
    stats->evictions[i] += shard->evictions[i];
  }
}

void lc_store_stats(struct lc_store *store, struct lc_store_stats *stats) {
  *stats = (struct lc_store_stats){0};
  for (unsigned i = 0; i < store->shard_count; i++) {
    pthread_mutex_lock(&store->shards[i].lock);
    add_stats(stats, &store->shards[i]);
    pthread_mutex_unlock(&store->shards[i].lock);
  }
}

/* What is found by walking, to be held against what is counted. */
struct census {
  size_t items, bytes, level2_items, level2_bytes, mirrors, mirror_bytes;
};

static int check_item(const struct lc_shard *shard, const struct lc_item *item, uint32_t bucket, struct lc_err *err) {
  const struct lc_store *store = shard->store;
  uint64_t hash = lc_store_hash(store, lc_item_key(item));
  if ((uint32_t)hash != item->hash || &store->shards[(hash >> 56) & (store->shard_count - 1)] != shard) {
    return lc_err_set(err, LC_EINTERNAL,
                      "an item has a hash that isn't its key's, or is in another shard than its own");
  }
  if (lc_index_bucket_of(&shard->index, item->hash) != bucket) {
    return lc_err_set(err, LC_EINTERNAL, "an item is in bucket %u, not in its own", bucket);
  }
  if (lc_index_find(&shard->index, item->hash, lc_item_key(item)) != item) {
    return lc_err_set(err, LC_EINTERNAL, "a key is in bucket %u twice", bucket);
  }
  if (atomic_load(&item->refs) == 0 || item->version == 0) {
    return lc_err_set(err, LC_EINTERNAL, "an item without references or version in bucket %u", bucket);
  }
  return 0;
}

static int walk_index(const struct lc_shard *shard, size_t *items, struct lc_err *err) {
  const struct lc_index *index = &shard->index;
  if (index->buckets > 0 && (index->buckets > index->mask + 1 || index->buckets <= index->mask >> 1)) {
    return lc_err_set(err, LC_EINTERNAL, "mask %x for %u buckets", index->mask, index->buckets);
  }
  for (uint32_t bucket = 0; bucket < index->buckets; bucket++) {
    for (const struct lc_item *item = *lc_index_bucket(index, bucket); item; item = item->chain) {
      int rc = check_item(shard, item, bucket, err);
      if (rc != 0) {
        return rc;
      }
      ++*items;
    }
  }
  return 0;
}

static int walk_list(const struct lc_list *list, bool level2, struct census *census, struct lc_err *err) {
  for (const struct lc_list *node = list->next; node != list; node = node->next) {
    const struct lc_item *item = lc_container_of(node, const struct lc_item, lru);
    if (node->prev->next != node || node->next->prev != node || item->level2 != level2) {
      return lc_err_set(err, LC_EINTERNAL, "a broken link, or an item in the wrong level's list");
    }
    census->items++;
    census->bytes += lc_item_cost(item);
    census->level2_items += level2;
    census->level2_bytes += level2 ? lc_item_cost(item) : 0;
    census->mirrors += item->mirror;
    census->mirror_bytes += item->mirror ? lc_item_cost(item) : 0;
  }
  return 0;
}

static int check_tail(const struct lc_shard *shard, struct lc_err *err) {
  const struct lc_list *list = lc_list_empty(&shard->level1) ? &shard->level2 : &shard->level1;
  uint64_t tail = 0;
  if (!lc_list_empty(list)) {
    tail = LC_TAIL_SET | lc_container_of(list->prev, const struct lc_item, lru)->stamp;
  }
  if (tail != atomic_load(&shard->tail)) {
    return lc_err_set(err, LC_EINTERNAL, "the stamp the pool sees isn't the tail's");
  }
  return 0;
}

/* Locked. Adds what the shard holds to `sum`. */
static int check_shard(const struct lc_shard *shard, struct census *sum, struct lc_err *err) {
  struct census seen = {0};
  size_t indexed = 0;
  int rc = walk_index(shard, &indexed, err);
  rc = rc != 0 ? rc : walk_list(&shard->level1, false, &seen, err);
  rc = rc != 0 ? rc : walk_list(&shard->level2, true, &seen, err);
  rc = rc != 0 ? rc : check_tail(shard, err);
  if (rc != 0) {
    return rc;
  }
  if (indexed != shard->items || seen.items != shard->items || seen.bytes != shard->bytes ||
      seen.level2_items != shard->level2_items || (!shard->two_levels && seen.level2_items > 0)) {
    return lc_err_set(err, LC_EINTERNAL, "counted %zu items of %zu bytes, %zu indexed, %zu of %zu listed", shard->items,
                      shard->bytes, indexed, seen.items, seen.bytes);
  }
  if (seen.mirrors != shard->mirrors || seen.mirror_bytes != shard->mirror_bytes) {
    return lc_err_set(err, LC_EINTERNAL, "counted %zu mirrors of %zu bytes, %zu of %zu listed", shard->mirrors,
                      shard->mirror_bytes, seen.mirrors, seen.mirror_bytes);
  }
  sum->bytes += seen.bytes;
  sum->level2_bytes += seen.level2_bytes;
  return 0;
}

static int check_pool(struct lc_pool *pool, const struct census *sum, struct lc_err *err) {
  if (sum->bytes != atomic_load(&pool->used) || sum->level2_bytes != atomic_load(&pool->level2)) {
    return lc_err_set(err, LC_EINTERNAL, "the pool counts %zu bytes, %zu in level 2; its stores hold %zu, %zu",
                      atomic_load(&pool->used), atomic_load(&pool->level2), sum->bytes, sum->level2_bytes);
  }
  return 0;
}

/* The shards' own counts are held against their lists elsewhere. */
static int check_mirrors(struct lc_store *store, struct lc_err *err) {
  size_t held = 0, counted = atomic_load(&store->mirror_bytes);
  for (unsigned i = 0; i < store->shard_count; i++) {
    pthread_mutex_lock(&store->shards[i].lock);
    held += store->shards[i].mirror_bytes;
    pthread_mutex_unlock(&store->shards[i].lock);
  }
  if (held != counted || held > store->mirror_limit) {
    return lc_err_set(err, LC_EINTERNAL, "a store counts %zu bytes of mirrors of at most %zu, its shards hold %zu",
                      counted, store->mirror_limit, held);
  }
  return 0;
}

int lc_store_check(struct lc_store *store, struct lc_err *err) {
  struct lc_pool *pool = store->pool;
  struct census sum = {0};
  int rc = 0;
  pthread_mutex_lock(&pool->lock);
  for (size_t i = 0; i < pool->count && rc == 0; i++) {
    pthread_mutex_lock(&pool->shards[i]->lock);
    rc = check_shard(pool->shards[i], &sum, err);
    pthread_mutex_unlock(&pool->shards[i]->lock);
    if (rc == 0 && pool->shards[i] == pool->shards[i]->store->shards) {
      rc = check_mirrors(pool->shards[i]->store, err);
    }
  }
  rc = rc != 0 ? rc : check_pool(pool, &sum, err);
  pthread_mutex_unlock(&pool->lock);
  return rc;
}
