#include "store/internal.h"

/* Where a sweep stands within one slice, and what it has done. */
struct sweep {
  size_t looked, most; /* items */
  size_t removed;
};

/*
 * Locked. Looks at the rest of one bucket. `skip` items of its chain were looked at before; a chain that changed since
 * may have one looked at twice, or not before the next round. False when the sweep's items are used up.
 */
static bool sweep_bucket(struct lc_shard *shard, uint32_t bucket, uint32_t *skip, uint64_t now_ms, struct sweep *sweep,
                         struct lc_doomed *doomed) {
  struct lc_item **link = lc_index_bucket(&shard->index, bucket);
  for (uint32_t i = 0; i < *skip && *link; i++) {
    link = &(*link)->chain;
  }
  while (*link) {
    if (sweep->looked == sweep->most) {
      return false;
    }
    sweep->looked++;
    if (lc_item_expired(*link, now_ms)) {
      lc_shard_remove(shard, *link, LC_EVICT_EXPIRED, doomed); /* *link is the next one now */
      sweep->removed++;
    } else {
      link = &(*link)->chain;
      ++*skip;
    }
  }
  *skip = 0;
  return true;
}

/* Locked. The index may have shrunk since: what was in the buckets that are gone is in lower ones. */
static bool reached_end(struct lc_store *store, const struct lc_shard *shard) {
  if (store->sweep_left > shard->index.buckets) {
    store->sweep_left = shard->index.buckets;
    store->sweep_skip = 0;
  }
  return store->sweep_left == 0 || shard->items == 0;
}

/* One hold of the lock. True when the shard's end was reached. */
static bool sweep_slice(struct lc_store *store, struct lc_shard *shard, uint64_t now_ms, struct sweep *sweep) {
  struct lc_doomed doomed = {0};
  struct sweep slice = {.most = sweep->most < LC_SLICE_ITEMS ? sweep->most : LC_SLICE_ITEMS};
  pthread_mutex_lock(&shard->lock);
  bool ended = false;
  for (unsigned i = 0; i < LC_SLICE_ITEMS; i++) {
    ended = reached_end(store, shard);
    if (ended || !sweep_bucket(shard, store->sweep_left - 1, &store->sweep_skip, now_ms, &slice, &doomed)) {
      break;
    }
    store->sweep_left--;
  }
  pthread_mutex_unlock(&shard->lock);
  lc_store_dispose(store, &doomed);
  sweep->most -= slice.looked;
  sweep->removed += slice.removed;
  return ended;
}

size_t lc_store_sweep(struct lc_store *store, uint64_t now_ms, size_t max_items) {
  struct sweep sweep = {.most = max_items};
  /* Once round, and the shard it began in the middle of a second time. */
  for (unsigned ends = 0; ends <= store->shard_count && sweep.most > 0;) {
    if (sweep_slice(store, &store->shards[store->sweep_shard], now_ms, &sweep)) {
      store->sweep_shard = (store->sweep_shard + 1) % store->shard_count;
      store->sweep_left = UINT32_MAX;
      store->sweep_skip = 0;
      ends++;
    }
  }
  return sweep.removed;
}
