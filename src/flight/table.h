#ifndef LC_FLIGHT_TABLE_H
#define LC_FLIGHT_TABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "flight/flight.h"

/* Inside flight/ only: the shards, their hash tables, and who waits for whom. */

struct lc_flight_shard {
  _Alignas(64) pthread_mutex_t lock;
  struct lc_flight_table *table;
  struct lc_flight **buckets;
  size_t mask;    /* buckets - 1 */
  size_t listed;  /* flights that a join can find */
  size_t flights; /* in progress, listed or detached */
  size_t waiters;
};

struct lc_flight_table {
  pthread_mutex_t nest; /* guards every flight's waits_for; taken after a shard's lock */
  size_t mask;          /* shards - 1 */
  void *block;          /* what the aligned shards were cut from */
  struct lc_flight_shard *shards;
};

struct lc_flight {
  struct lc_flight *next; /* in its bucket, while listed */
  struct lc_flight_shard *shard;
  uint64_t hash;
  struct lc_list waiters;
  size_t waiter_count;
  atomic_uint refs;
  unsigned foreign;                     /* of its lineage: how many, the outermost, wait on other nodes */
  size_t lineage_count;                 /* ancestors when it began */
  const struct lc_flight_name *lineage; /* in its own block; outermost first */
  bool listed;                          /* not detached, not over */
  bool remote;                          /* its load asks another node */
  bool has_nested;                      /* some waiter had a parent */
  struct lc_flight *waits_for;          /* what its load waits for now: one at most, a load is sequential; under nest */
  void (*owner_fini)(void *owner);
  size_t owner_size, group_len, key_len;
};

static inline struct lc_flight_shard *lc_flight_shard_of(struct lc_flight_table *table, uint64_t hash) {
  return &table->shards[(hash >> 40) & table->mask];
}

/* With the shard's lock held. */
struct lc_flight *lc_flight_find(struct lc_flight_shard *shard, struct lc_slice group, struct lc_slice key,
                                 uint64_t hash);
void lc_flight_list(struct lc_flight_shard *shard, struct lc_flight *flight);
void lc_flight_unlist(struct lc_flight_shard *shard, struct lc_flight *flight); /* harmless if it isn't listed */

/* Whether loads that could wait for the key ask for it. */
static inline bool lc_nest_concerns(const struct lc_flight_join *join) {
  return join->parent || join->lineage_count > 0;
}

/* The loads that will wait for the join's flight, outermost first; returns how many. Of a join that passed the check.
 */
size_t lc_nest_ancestors(const struct lc_flight_join *join, struct lc_flight_name names[LC_FLIGHT_MAX_DEPTH + 1]);

/*
 * May the join's parent, or the loads of its lineage, wait for the key, whose present flight is `found` (NULL if none)?
 * 0, and with `enter` the parent waits for `found` from now on; or LC_EINVAL with a message. Check and entry are one
 * step: two loads that turn to each other at the same time can't both pass.
 */
int lc_nest_check(struct lc_flight_table *table, const struct lc_flight_join *join, struct lc_flight *found, bool enter,
                  struct lc_err *err);
void lc_nest_set(struct lc_flight_table *table, struct lc_flight *parent, struct lc_flight *waits_for);

#endif
