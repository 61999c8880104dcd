#include "flight/table.h"

#include <stdint.h>

#include "base/alloc.h"

#define FIRST_BUCKETS 16u
#define MAX_SHARDS 65536u

static int shard_init(struct lc_flight_shard *shard, struct lc_flight_table *table) {
  shard->table = table;
  shard->buckets = lc_calloc(FIRST_BUCKETS, sizeof(struct lc_flight *));
  if (!shard->buckets)
    return LC_ENOMEM;
  shard->mask = FIRST_BUCKETS - 1;
  pthread_mutex_init(&shard->lock, NULL);
  return LC_OK;
}

int lc_flight_table_create(unsigned shards, struct lc_flight_table **table) {
  if (shards == 0 || shards > MAX_SHARDS || (shards & (shards - 1)) != 0)
    return LC_EINVAL;
  struct lc_flight_table *made = lc_calloc(1, sizeof *made);
  if (!made)
    return LC_ENOMEM;
  pthread_mutex_init(&made->nest, NULL);
  const size_t align = _Alignof(struct lc_flight_shard);
  made->block = lc_calloc(1, shards * sizeof(struct lc_flight_shard) + align);
  if (!made->block)
    goto fail;
  made->shards = (struct lc_flight_shard *)(((uintptr_t)made->block + align - 1) & ~(uintptr_t)(align - 1));
  made->mask = shards - 1;
  for (unsigned i = 0; i < shards; i++) {
    if (shard_init(&made->shards[i], made) != LC_OK)
      goto fail;
  }
  *table = made;
  return LC_OK;

fail:
  lc_flight_table_destroy(made);
  return LC_ENOMEM;
}

void lc_flight_table_destroy(struct lc_flight_table *table) {
  if (!table)
    return;
  for (size_t i = 0; table->shards && i <= table->mask; i++) {
    if (!table->shards[i].buckets)
      break;
    pthread_mutex_destroy(&table->shards[i].lock);
    lc_free(table->shards[i].buckets);
  }
  pthread_mutex_destroy(&table->nest);
  lc_free(table->block);
  lc_free(table);
}

struct lc_flight *lc_flight_find(struct lc_flight_shard *shard, struct lc_slice group, struct lc_slice key,
                                 uint64_t hash) {
  struct lc_flight *flight = shard->buckets[hash & shard->mask];
  while (flight && !(flight->hash == hash && lc_slice_eq(lc_flight_key(flight), key) &&
                     lc_slice_eq(lc_flight_group(flight), group))) {
    flight = flight->next;
  }
  return flight;
}

/* Without memory the chains get longer, and that is all. */
static void grow(struct lc_flight_shard *shard) {
  size_t count = (shard->mask + 1) * 2;
  struct lc_flight **buckets = lc_calloc(count, sizeof(struct lc_flight *));
  if (!buckets)
    return;
  for (size_t i = 0; i <= shard->mask; i++) {
    for (struct lc_flight *flight = shard->buckets[i], *next; flight; flight = next) {
      next = flight->next;
      flight->next = buckets[flight->hash & (count - 1)];
      buckets[flight->hash & (count - 1)] = flight;
    }
  }
  lc_free(shard->buckets);
  shard->buckets = buckets;
  shard->mask = count - 1;
}

void lc_flight_list(struct lc_flight_shard *shard, struct lc_flight *flight) {
  if (shard->listed > shard->mask)
    grow(shard);
  struct lc_flight **bucket = &shard->buckets[flight->hash & shard->mask];
  flight->next = *bucket;
  *bucket = flight;
  flight->listed = true;
  shard->listed++;
}

void lc_flight_unlist(struct lc_flight_shard *shard, struct lc_flight *flight) {
  if (!flight->listed)
    return;
  struct lc_flight **link = &shard->buckets[flight->hash & shard->mask];
  while (*link != flight)
    link = &(*link)->next;
  *link = flight->next;
  flight->listed = false;
  shard->listed--;
}

void lc_flight_count(struct lc_flight_table *table, size_t *flights, size_t *waiters) {
  *flights = *waiters = 0;
  for (size_t i = 0; i <= table->mask; i++) {
    struct lc_flight_shard *shard = &table->shards[i];
    pthread_mutex_lock(&shard->lock);
    *flights += shard->flights;
    *waiters += shard->waiters;
    pthread_mutex_unlock(&shard->lock);
  }
}
