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

static uint8_t *append(uint8_t *to, struct lc_slice bytes) {
  if (bytes.len > 0)
    memcpy(to, bytes.ptr, bytes.len);
  return to + bytes.len;
}

/* A block's part for the names and, after them, their bytes. */
static size_t lineage_size(const struct lc_flight_name *names, size_t count) {
  size_t size = count * sizeof *names;
  for (size_t i = 0; i < count; i++)
    size += names[i].group.len + names[i].key.len;
  return size;
}

static void copy_lineage(struct lc_flight *flight, void *to, const struct lc_flight_name *names, size_t count) {
  struct lc_flight_name *copies = to;
  uint8_t *bytes = (uint8_t *)(copies + count);
  for (size_t i = 0; i < count; i++) {
    copies[i].group = lc_slice_of(bytes, names[i].group.len);
    bytes = append(bytes, names[i].group);
    copies[i].key = lc_slice_of(bytes, names[i].key.len);
    bytes = append(bytes, names[i].key);
  }
  flight->lineage = copies;
  flight->lineage_count = count;
}

size_t lc_flight_lineage(const struct lc_flight *flight, struct lc_flight_name names[LC_FLIGHT_MAX_DEPTH + 1]) {
  for (size_t i = 0; i < flight->lineage_count; i++)
    names[i] = flight->lineage[i];
  names[flight->lineage_count] =
      (struct lc_flight_name){.group = lc_flight_group(flight), .key = lc_flight_key(flight)};
  return flight->lineage_count + 1;
}

/* In one block: the flight, the owner's bytes, group, key, and what lineage it has. */
static struct lc_flight *flight_create(struct lc_flight_shard *shard, const struct lc_flight_join *join) {
  struct lc_flight_name ancestors[LC_FLIGHT_MAX_DEPTH + 1];
  size_t count = lc_nest_ancestors(join, ancestors);
  const size_t align = _Alignof(struct lc_flight_name);
  size_t head = OWNER_OFFSET + join->owner_size;
  size_t named = (head + join->group.len + join->key.len + align - 1) & ~(align - 1);
  struct lc_flight *flight = lc_malloc(named + lineage_size(ancestors, count));
  if (!flight)
    return NULL;
  memset(flight, 0, head);
  flight->shard = shard;
  flight->hash = join->hash;
  flight->remote = join->remote;
  lc_list_init(&flight->waiters);
  atomic_init(&flight->refs, 1);
  flight->foreign = join->parent ? join->parent->foreign : (unsigned)join->lineage_count;
  flight->owner_fini = join->owner_fini;
  flight->owner_size = join->owner_size;
  flight->group_len = join->group.len;
  flight->key_len = join->key.len;
  append(append((uint8_t *)flight + head, join->group), join->key);
  if (count > 0)
    copy_lineage(flight, (char *)flight + named, ancestors, count);
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
  bool enter = found && !join->alone && !(join->here && found->remote);
  int rc = lc_nest_concerns(join) ? lc_nest_check(shard->table, join, found, enter, err) : LC_OK;
  if (rc != LC_OK)
    return rc;
  if (enter) {
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

void lc_flight_locked(struct lc_flight_table *table, uint64_t hash, lc_flight_write_fn fn, void *arg) {
  struct lc_flight_shard *shard = lc_flight_shard_of(table, hash);
  pthread_mutex_lock(&shard->lock);
  fn(arg);
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
