#include "base/alloc.h"
#include "store/internal.h"

/*
 * A walk over all items while others use the store. Buckets come and go meanwhile, so the walk doesn't go by their
 * numbers but by the hash with its bits reversed: a bucket holds the hashes that share their low bits, which is one
 * unbroken range of reversed hashes, however often it is split or merged. So an item that stays is met once exactly.
 */

#define RADIX_BITS 11u
#define RADIX (1u << RADIX_BITS)
#define RADIX_PASSES 3u /* an age has 31 bits */

static uint32_t reverse(uint32_t x) {
  x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
  x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
  x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
  return __builtin_bswap32(x);
}

/* How many reversed hashes a bucket holds. */
static uint64_t bucket_width(const struct lc_index *index, uint32_t bucket) {
  uint32_t half = index->mask >> 1;
  bool split = bucket > half || index->buckets > bucket + half + 1;
  return UINT64_C(1) << (32 - __builtin_popcount(split ? index->mask : half));
}

static int make_room(struct lc_collection *to, size_t more) {
  if (to->cap - to->count >= more) {
    return 0;
  }
  size_t cap = to->count + more + to->cap / 2;
  struct lc_found *grown = lc_realloc(to->found, cap * sizeof(*grown));
  if (!grown) {
    return LC_ENOMEM;
  }
  to->found = grown;
  to->cap = cap;
  return 0;
}

static size_t chain_length(const struct lc_item *item) {
  size_t length = 0;
  for (; item; item = item->chain) {
    length++;
  }
  return length;
}

/* Locked. Of a chain, what wasn't met in a bucket that has been merged into this one since. */
static void take_chain(struct lc_collection *to, struct lc_item *item, uint64_t from) {
  for (; item; item = item->chain) {
    if (reverse(item->hash) >= from && !item->mirror && !lc_item_expired(item, to->now_ms)) {
      to->found[to->count++] = (struct lc_found){lc_item_ref(item), lc_stamp_age(to->clock, item->stamp)};
    }
  }
}

size_t lc_shard_collect(struct lc_shard *shard, uint64_t *at, struct lc_collection *to) {
  size_t looked = 0;
  while (*at >> 32 == 0 && shard->items > 0) {
    uint32_t bucket = lc_index_bucket_of(&shard->index, reverse((uint32_t)*at));
    struct lc_item *chain = *lc_index_bucket(&shard->index, bucket);
    size_t length = chain_length(chain);
    if (length > to->cap - to->count) {
      return length;
    }
    if (looked > 0 && looked + length + 1 > LC_SLICE_ITEMS) {
      return 0;
    }
    take_chain(to, chain, *at);
    looked += length + 1;
    uint64_t width = bucket_width(&shard->index, bucket);
    *at = (*at & ~(width - 1)) + width;
  }
  *at = UINT64_C(1) << 32;
  return 0;
}

static int collect_shard(struct lc_shard *shard, struct lc_collection *to) {
  size_t room = LC_SLICE_ITEMS;
  for (uint64_t at = 0; at >> 32 == 0;) {
    if (make_room(to, room) != 0) {
      return LC_ENOMEM;
    }
    pthread_mutex_lock(&shard->lock);
    size_t wanted = lc_shard_collect(shard, &at, to);
    pthread_mutex_unlock(&shard->lock);
    room = wanted > LC_SLICE_ITEMS ? wanted : LC_SLICE_ITEMS;
  }
  return 0;
}

/* One pass of a radix sort, stable. */
static void sort_pass(const struct lc_found *from, struct lc_found *to, size_t count, unsigned shift) {
  size_t place[RADIX] = {0};
  for (size_t i = 0; i < count; i++) {
    place[from[i].age >> shift & (RADIX - 1)]++;
  }
  for (size_t i = 0, before = 0; i < RADIX; i++) {
    size_t here = place[i];
    place[i] = before;
    before += here;
  }
  for (size_t i = 0; i < count; i++) {
    to[place[from[i].age >> shift & (RADIX - 1)]++] = from[i];
  }
}

/* The youngest first; ties stay as they were. */
static int sort_by_age(struct lc_collection *all) {
  struct lc_found *other = lc_malloc((all->count ? all->count : 1) * sizeof(*other));
  if (!other) {
    return LC_ENOMEM;
  }
  for (unsigned pass = 0; pass < RADIX_PASSES; pass++) {
    sort_pass(all->found, other, all->count, pass * RADIX_BITS);
    struct lc_found *sorted = other;
    other = all->found;
    all->found = sorted;
  }
  lc_free(other);
  return 0;
}

/* The items alone, in the same block, given back in part. */
static struct lc_item **strip(struct lc_collection *all) {
  struct lc_item **items = (struct lc_item **)(void *)all->found;
  for (size_t i = 0; i < all->count; i++) {
    items[i] = all->found[i].item;
  }
  struct lc_item **shrunk = lc_realloc(items, (all->count ? all->count : 1) * sizeof(struct lc_item *));
  return shrunk ? shrunk : items;
}

int lc_store_collect(struct lc_store *store, uint64_t now_ms, struct lc_item ***items, size_t *count) {
  struct lc_collection all = {.now_ms = now_ms, .clock = lc_pool_stamp(store->pool)};
  int rc = 0;
  for (unsigned i = 0; i < store->shard_count && rc == 0; i++) {
    rc = collect_shard(&store->shards[i], &all);
  }
  rc = rc != 0 ? rc : sort_by_age(&all);
  if (rc != 0) {
    for (size_t i = 0; i < all.count; i++) {
      lc_item_unref(all.found[i].item);
    }
    lc_free(all.found);
    return rc;
  }
  *items = strip(&all);
  *count = all.count;
  return 0;
}
