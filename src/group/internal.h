#ifndef LC_GROUP_INTERNAL_H
#define LC_GROUP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "group/group.h"
#include "group/heat.h"

/* Inside group/ only. */

/* One worker's counters of one group. Only that worker writes them, so a plain store that others may read is enough. */
struct lc_counters {
  _Alignas(64) _Atomic uint64_t hits;
  _Atomic uint64_t misses, coalesced, loads, load_errors, not_found, timeouts, sets, deletes, refused;
  _Atomic uint64_t mirror_hits, forwards, forward_fails, peeks, peek_hits, served, invalidated, added;
};

static inline void lc_count(_Atomic uint64_t *counter) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* At most LC_LOG_BURST lines a second about a group's loads. */
#define LC_LOG_BURST 10u

struct lc_log_limit {
  pthread_mutex_t lock;
  uint64_t window_ms; /* when the present second began */
  unsigned lines;     /* written in it */
  uint64_t suppressed;
};

struct lc_group {
  struct lc_groups *groups;
  void *memory; /* what the aligned group was cut from */
  unsigned index;
  struct lc_slice name; /* NUL-terminated */
  struct lc_group_options options;
  struct lc_pool *pool; /* its own, or the shared one */
  struct lc_store *store;
  struct lc_log_limit log_limit;
  _Alignas(64) atomic_size_t loads_now; /* getters that run */
  atomic_size_t remote_now;             /* loads that wait for another node */
  _Atomic uint64_t evict_dropped;
};

struct lc_evict_queue;

struct lc_groups {
  const struct lc_exec *exec;
  const struct lc_loader *loader;
  const struct lc_peers *peers; /* NULL: a node alone */
  struct lc_heat *heat;         /* NULL without peers, or where no group has mirrors */
  struct lc_log *log;
  struct lc_hash_key hash_key;
  struct lc_flight_table *flights;
  struct lc_pool *shared_pool; /* of the groups without a cap; NULL if there are none */
  struct lc_group **groups;
  size_t count;
  struct lc_group **slots; /* open addressing by the keyed hash of the name */
  size_t slot_mask;
  void *counters_block;
  struct lc_counters *counters; /* [worker * count + group]; the row after the last worker's: the control thread */
  struct lc_evict_queue *evict_queue; /* NULL if no group wants it */
  atomic_bool draining;
};

static inline struct lc_counters *lc_group_counters(const struct lc_group *group, unsigned worker) {
  return &group->groups->counters[worker * group->groups->count + group->index];
}

static inline uint64_t lc_group_now(const struct lc_group *group, unsigned worker) {
  const struct lc_exec *exec = group->groups->exec;
  return exec->now_ms(exec->ctx, worker);
}

static inline bool lc_group_owns(const struct lc_group *group, unsigned worker, struct lc_slice key) {
  const struct lc_peers *peers = group->groups->peers;
  return peers->owns(peers->ctx, worker, group->name, key);
}

/* The tag of an item that is to be stored as an owner's, or not: the view in force, or 0, which is no view's, where
 * that has changed since `owned` was asked. */
static inline unsigned lc_group_tag(const struct lc_group *group, unsigned worker, struct lc_slice key, bool owned) {
  const struct lc_peers *peers = group->groups->peers;
  unsigned view = peers->view(peers->ctx, worker);
  return lc_group_owns(group, worker, key) == owned ? view & LC_ITEM_VIEW_MASK : 0;
}

static inline bool lc_groups_fresh(const struct lc_groups *groups, unsigned worker) {
  return groups->peers->fresh(groups->peers->ctx, worker);
}

/* When something that lives ttl_ms from now_ms ends; a ttl of 0 never does. */
static inline uint64_t lc_group_expiry(uint64_t now_ms, uint64_t ttl_ms) {
  return ttl_ms == 0 || ttl_ms >= LC_TIME_NEVER - now_ms ? LC_TIME_NEVER : now_ms + ttl_ms;
}

/* get.c: what every request is held against. 0 and the group, or LC_EINVAL, LC_ENOTFOUND with a message. */
int lc_group_check(struct lc_groups *groups, struct lc_slice name, struct lc_slice key, struct lc_group **group,
                   struct lc_err *err);

/* get.c: a Get's result when its load is over. A NULL message means none. */
void lc_get_answer(struct lc_get *get, int code, struct lc_item *item, enum lc_from from, int64_t ttl_ms,
                   const char *message, struct lc_flight *message_owner);

/* load.c: the bytes that a flight carries for its load, and the load's start: LC_PENDING, or `leader` is answered.
 * `owned`: this node owns the key. */
extern const size_t lc_load_size;
void lc_load_fini(void *arg);
struct lc_flight *lc_load_flight(struct lc_load *load);
int lc_load_start(struct lc_flight *flight, struct lc_get *leader, bool owned);
void lc_load_abandon(struct lc_flight *flight); /* any thread; takes over the caller's reference */

/* copies.c: drops any copy of the key here and detaches its flight. */
void lc_group_forget(struct lc_group *group, struct lc_slice key, unsigned worker);

/* load_log.c */
void lc_load_log_error(struct lc_group *group, struct lc_slice key, uint64_t now_ms, int code, const char *message);
void lc_load_log_flush(struct lc_group *group, uint64_t now_ms); /* says how many lines were left out, if any */

/* evict.c */
int lc_evict_queue_create(struct lc_groups *groups, struct lc_evict_queue **queue);
void lc_evict_queue_destroy(struct lc_evict_queue *queue);
void lc_evict_push(void *arg, struct lc_item *item, enum lc_evict_reason reason);

/* options.c: fills in the defaults that depend on the budget; 0 or LC_EINVAL with a message. */
int lc_group_options_check(struct lc_group_options *options, uint64_t budget_bytes, uint64_t max_message_bytes,
                           struct lc_err *err);

#endif
