#include <string.h>

#include "base/alloc.h"
#include "flight/table.h"

#define OWNER_OFFSET ((sizeof(struct lc_flight) + 15) & ~(size_t)15)

void *lc_flight_owner(struct lc_flight *flight) {
  return (char *)flight + OWNER_OFFSET;
}

struct lc_slice lc_flight_group(const struct lc_flight *flight) {
  return lc_slice_of((const char *)flight + OWNER_OFFSET + flight->owner_size, flight->group_len);
}

struct lc_slice lc_flight_key(const struct lc_flight *flight) {
  return lc_slice_of((const char *)flight + OWNER_OFFSET + flight->owner_size + flight->group_len, flight->key_len);
}

struct lc_flight *lc_flight_ref(struct lc_flight *flight) {
  atomic_fetch_add_explicit(&flight->refs, 1, memory_order_relaxed);
  return flight;
}

void lc_flight_unref(struct lc_flight *flight) {
  if (!flight || atomic_fetch_sub_explicit(&flight->refs, 1, memory_order_acq_rel) != 1)
    return;
  if (flight->owner_fini)
    flight->owner_fini(lc_flight_owner(flight));
  lc_free(flight);
}

static struct lc_flight *flight_create(struct lc_flight_shard *shard, const struct lc_flight_join *join) {
  size_t head = OWNER_OFFSET + join->owner_size;
  struct lc_flight *flight = lc_malloc(head + join->group.len + join->key.len);
  if (!flight)
    return NULL;
  memset(flight, 0, head);
  flight->shard = shard;
  flight->hash = join->hash;
  lc_list_init(&flight->waiters);
  atomic_init(&flight->refs, 1);
  flight->depth = join->parent ? join->parent->depth + 1 : 0;
  flight->owner_fini = join->owner_fini;
  flight->owner_size = join->owner_size;
  flight->group_len = join->group.len;
  flight->key_len = join->key.len;
  char *bytes = (char *)flight + head;
  if (join->group.len > 0)
    memcpy(bytes, join->group.ptr, join->group.len);
  if (join->key.len > 0)
    memcpy(bytes + join->group.len, join->key.ptr, join->key.len);
  return flight;
}

static void link_waiter(struct lc_flight *flight, struct lc_flight_waiter *waiter, struct lc_flight *parent) {
  lc_list_push_back(&flight->waiters, &waiter->link);
  waiter->flight = flight;
  waiter->parent = parent ? lc_flight_ref(parent) : NULL;
  if (parent)
    flight->has_nested = true;
  flight->waiter_count++;
  flight->shard->waiters++;
}

static int join_locked(struct lc_flight_shard *shard, const struct lc_flight_join *join,
                       struct lc_flight_waiter *waiter, struct lc_flight **out, struct lc_err *err) {
  struct lc_flight *found = lc_flight_find(shard, join->group, join->key, join->hash);
  int rc = join->parent ? lc_nest_check(shard->table, join, found, !join->alone, err) : LC_OK;
  if (rc != LC_OK)
    return rc;
  if (found && !join->alone) {
    link_waiter(found, waiter, join->parent);
    return LC_FLIGHT_JOINED;
  }
  struct lc_flight *flight = flight_create(shard, join);
  if (!flight)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  if (found)
    lc_flight_unlist(shard, found);
  lc_flight_list(shard, flight);
  shard->flights++;
  if (join->parent)
    lc_nest_set(shard->table, join->parent, flight);
  link_waiter(flight, waiter, join->parent);
  *out = flight;
  return LC_FLIGHT_LEADER;
}

int lc_flight_join(struct lc_flight_table *table, const struct lc_flight_join *join, struct lc_flight_waiter *waiter,
                   struct lc_flight **flight, struct lc_err *err) {
  struct lc_flight_shard *shard = lc_flight_shard_of(table, join->hash);
  pthread_mutex_lock(&shard->lock);
  int rc = join->recheck ? join->recheck(join->arg) : 0;
  if (rc == 0)
    rc = join_locked(shard, join, waiter, flight, err);
  pthread_mutex_unlock(&shard->lock);
  return rc;
}

/* The waiters are the caller's alone by now, and the flight is still alive: no chain can lead to freed memory. */
static void release_parents(struct lc_flight_table *table, struct lc_list *waiters) {
  for (struct lc_list *at = waiters->next; at != waiters; at = at->next) {
    struct lc_flight_waiter *waiter = lc_container_of(at, struct lc_flight_waiter, link);
    if (!waiter->parent)
      continue;
    lc_nest_set(table, waiter->parent, NULL);
    lc_flight_unref(waiter->parent);
    waiter->parent = NULL;
  }
}

void lc_flight_complete(struct lc_flight *flight, lc_flight_store_fn store, void *arg, struct lc_list *waiters) {
  struct lc_flight_shard *shard = flight->shard;
  lc_list_init(waiters);
  pthread_mutex_lock(&shard->lock);
  if (store)
    store(arg, !flight->listed);
  lc_flight_unlist(shard, flight);
  lc_list_splice_back(waiters, &flight->waiters);
  for (struct lc_list *at = waiters->next; at != waiters; at = at->next) {
    lc_container_of(at, struct lc_flight_waiter, link)->flight = NULL;
  }
  shard->waiters -= flight->waiter_count;
  flight->waiter_count = 0;
  shard->flights--;
  bool has_nested = flight->has_nested;
  pthread_mutex_unlock(&shard->lock);
  if (has_nested)
    release_parents(shard->table, waiters);
  lc_flight_unref(flight);
}

static enum lc_flight_leave leave_locked(struct lc_flight_shard *shard, struct lc_flight_waiter *waiter,
                                         struct lc_flight **out) {
  struct lc_flight *flight = waiter->flight;
  if (!flight)
    return LC_FLIGHT_GONE;
  if (waiter->parent)
    lc_nest_set(shard->table, waiter->parent, NULL);
  lc_list_remove(&waiter->link);
  waiter->flight = NULL;
  shard->waiters--;
  if (--flight->waiter_count > 0)
    return LC_FLIGHT_LEFT;
  lc_flight_unlist(shard, flight);
  *out = lc_flight_ref(flight);
  return LC_FLIGHT_ABANDONED;
}

enum lc_flight_leave lc_flight_leave(struct lc_flight_table *table, struct lc_flight_waiter *waiter, uint64_t hash,
                                     struct lc_flight **flight) {
  struct lc_flight_shard *shard = lc_flight_shard_of(table, hash);
  pthread_mutex_lock(&shard->lock);
  enum lc_flight_leave left = leave_locked(shard, waiter, flight);
  pthread_mutex_unlock(&shard->lock);
  if (left == LC_FLIGHT_GONE)
    return left;
  lc_flight_unref(waiter->parent);
  waiter->parent = NULL;
  return left;
}

void lc_flight_detach(struct lc_flight_table *table, struct lc_slice group, struct lc_slice key, uint64_t hash,
                      lc_flight_write_fn write, void *arg) {
  struct lc_flight_shard *shard = lc_flight_shard_of(table, hash);
  pthread_mutex_lock(&shard->lock);
  struct lc_flight *found = lc_flight_find(shard, group, key, hash);
  if (found)
    lc_flight_unlist(shard, found);
  if (write)
    write(arg);
  pthread_mutex_unlock(&shard->lock);
}

static void detach_bucket(struct lc_flight_shard *shard, size_t bucket, struct lc_slice group) {
  for (struct lc_flight *flight = shard->buckets[bucket], *next; flight; flight = next) {
    next = flight->next;
    if (lc_slice_eq(lc_flight_group(flight), group))
      lc_flight_unlist(shard, flight);
  }
}

void lc_flight_detach_group(struct lc_flight_table *table, struct lc_slice group) {
  for (size_t i = 0; i <= table->mask; i++) {
    struct lc_flight_shard *shard = &table->shards[i];
    pthread_mutex_lock(&shard->lock);
    for (size_t bucket = 0; bucket <= shard->mask; bucket++)
      detach_bucket(shard, bucket, group);
    pthread_mutex_unlock(&shard->lock);
  }
}
