#ifndef LC_GROUP_GROUP_H
#define LC_GROUP_GROUP_H

#include <stdbool.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/slice.h"
#include "base/task.h"
#include "flight/flight.h"
#include "group/exec.h"
#include "group/loader.h"
#include "group/peer.h"
#include "store/store.h"

/*
 * The domain: named groups, and Get, Set and Delete of their keys. get.c is the file to read first. It knows neither
 * Lua nor sockets nor loops; it reaches them by loader.h, exec.h and, where there are other nodes, peer.h.
 */

#define LC_GROUP_NAME_MAX 255u
#define LC_TTL_GROUP 0 /* lc_group_set: the group's TTL */
#define LC_TTL_NEVER (-1)

/* A group as the script declares it. Strings are copied. */
struct lc_group_options {
  const char *name;
  uint64_t limit_bytes; /* 0: shares what the capped groups leave */
  uint64_t ttl_ms;      /* 0: never expires */
  uint64_t timeout_ms;  /* of one load */
  enum lc_policy policy;
  size_t max_key;         /* bytes, 1 to LC_KEY_MAX */
  size_t max_value;       /* bytes; 0: the message limit and a quarter of the budget, whichever is less */
  size_t max_loads;       /* loads at a time; one more is refused with LC_EEXHAUSTED */
  bool wants_evict;       /* the loader's `evicted` is called */
  uint64_t mirror_ttl_ms; /* the most that a copy of another node's key lives; 0: none is kept */
};

/* The defaults of the design: no cap, no TTL, 5 s, lru2, 4 KiB keys, 10,000 loads, mirrors for 5 s. */
void lc_group_options_init(struct lc_group_options *options);

struct lc_groups_config {
  const struct lc_group_options *options;
  size_t count;
  uint64_t memory_bytes; /* of all groups together */
  uint64_t max_message_bytes;
  const struct lc_exec *exec;     /* borrowed */
  const struct lc_loader *loader; /* borrowed */
  const struct lc_peers *peers;   /* borrowed; NULL: a node alone */
  struct lc_log *log;             /* borrowed, may be NULL */
};

struct lc_groups; /* all groups of a node; the index of a group is its place in the options */
struct lc_group;

/*
 * 0, LC_ENOMEM, or LC_EINVAL with a message: a name twice, an empty or long name, caps that add up to more than
 * memory_bytes, nothing left for the groups without a cap, a max_value over a quarter of the group's bytes.
 */
int lc_groups_create(const struct lc_groups_config *config, struct lc_groups **groups, struct lc_err *err);

/* After the workers have stopped; no Get may be pending. NULL is fine. */
void lc_groups_destroy(struct lc_groups *groups);

size_t lc_groups_count(const struct lc_groups *groups);
struct lc_group *lc_groups_at(struct lc_groups *groups, size_t index);
struct lc_group *lc_groups_find(struct lc_groups *groups, struct lc_slice name); /* NULL if unknown */
/* The same, or LC_EINVAL (empty), LC_ENOTFOUND with a message in a client's words. */
int lc_groups_resolve(struct lc_groups *groups, struct lc_slice name, struct lc_group **group, struct lc_err *err);
const char *lc_group_name(const struct lc_group *group);
struct lc_store *lc_group_store(const struct lc_group *group); /* for handing its items over; lives as long */

/* Refuse new loads with LC_EUNAVAILABLE "draining" from now on; hits and loads in progress go on. Any thread. */
void lc_groups_drain(struct lc_groups *groups);

bool lc_groups_draining(const struct lc_groups *groups); /* any thread */

/* Flights in progress, for a stop that waits for them. Any thread. */
size_t lc_groups_flights(struct lc_groups *groups);

/* Removes expired items in a bounded slice; called every 100 ms or so on each worker for its share of the groups. */
void lc_groups_sweep(struct lc_groups *groups, unsigned worker);

/* How a Get was served; the numbers are the wire's. */
enum lc_from { LC_FROM_UNSPECIFIED, LC_FROM_STORE, LC_FROM_MIRROR, LC_FROM_PEER, LC_FROM_SOURCE, LC_FROM_STALE };

/* One Get. Lives in the caller's object until it is over; zero it, then fill the first part. */
struct lc_get {
  struct lc_slice group, key; /* valid until the Get is over */
  unsigned worker;            /* the calling one */
  bool only_if_cached;
  bool refresh;           /* load anew even if there is a copy or a load: the value's load begins after this call */
  bool forwarded;         /* another node asks: it is answered here, whatever the ring says */
  bool parked;            /* private: it waits until stored copies may be served again */
  struct lc_load *parent; /* the load whose getter asks; NULL for a client */
  const struct lc_flight_name *lineage; /* with forwarded: the loads there that wait; read before the call returns */
  size_t lineage_count;
  void (*done)(struct lc_get *get);

  /* The result, valid when the Get is over, until lc_get_fini. */
  int code; /* LC_OK or a negative LC_E… */
  enum lc_from from;
  int64_t ttl_ms;       /* as on the wire: 0 no expiry */
  struct lc_item *item; /* on LC_OK; the get's reference */
  const char *message;  /* NUL-terminated, for a client; "" on LC_OK; never NULL when over */

  union {                           /* the rest is private */
    struct lc_flight_waiter waiter; /* of its flight */
    struct lc_peer_fresh fresh;     /* while parked */
  };
  struct lc_task task;
  struct lc_group *in_group;
  uint64_t hash;
  struct lc_flight *shared; /* keeps a message alive that all waiters share */
  void *own;                /* what this Get alone holds: its message; while parked, its lineage */
};

/*
 * Starts a Get. Returns LC_PENDING, and get->done is called once, later, on this worker, never before it returns; or
 * the result's code, which is also in get->code, and done is never called. A hit is such a result, so are bad
 * arguments and a getter that returned without waiting. Deadlines of the caller's own: lc_get_cancel.
 */
int lc_group_get(struct lc_groups *groups, struct lc_get *get);

/* Gets that are begun on this worker between the two go to other nodes together, one call a node. They don't nest. */
void lc_groups_cork(struct lc_groups *groups, unsigned worker);
void lc_groups_uncork(struct lc_groups *groups, unsigned worker);

/*
 * The caller of a pending Get gives up. True: the Get is over (code LC_ECANCELLED), done won't be called. False: the
 * result is on its way and done will be called; the object must live until then. On the Get's worker only.
 */
bool lc_get_cancel(struct lc_groups *groups, struct lc_get *get);

/* Drops what a Get that is over holds (item, message). Needed after every lc_group_get. */
void lc_get_fini(struct lc_get *get);

/* One Set or Delete. Lives in the caller's object until it is over; zero it, then fill the first part. */
struct lc_write_op;
struct lc_write {
  struct lc_slice group, key; /* read before the call returns */
  unsigned worker;
  struct lc_slice value; /* Set: copied */
  int64_t ttl_ms;        /* Set: LC_TTL_GROUP, LC_TTL_NEVER, or milliseconds */
  bool forwarded;        /* another node asks: applied here or refused with LC_ENOTOWNER */
  uint64_t deadline_ms;  /* of the caller, monotonic; 0: the group's timeout from now */
  void (*done)(struct lc_write *write);

  /* The result, when it is over. */
  int code;
  bool deleted; /* Delete's: an unexpired item was there */
  struct lc_err err;
  struct lc_write_op *op; /* private, while it is pending */
};

/*
 * Final when they are over with LC_OK: a Get that begins later, on any node that is up, sees the write (the design's
 * promises say it exactly). LC_PENDING, and done comes once, later, on this worker; or the result at once, as with
 * lc_group_get. A node alone is never PENDING. LC_OK, or with words for a client in err: LC_ENOTFOUND (unknown group),
 * LC_EINVAL (empty or long key, bad ttl), LC_ETOOBIG (value over its limit; the old value is removed), LC_ENOMEM,
 * LC_EUNAVAILABLE (the owner can't be reached), LC_EDEADLINE: with these two the write may or may not have happened;
 * LC_ENOTOWNER (forwarded only).
 */
int lc_group_set(struct lc_groups *groups, struct lc_write *write);
int lc_group_delete(struct lc_groups *groups, struct lc_write *write);

/* As lc_get_cancel. The write may take effect all the same. */
bool lc_write_cancel(struct lc_groups *groups, struct lc_write *write);

/*
 * ---- for other nodes: what cluster/ calls ----
 *
 * `worker` is the caller's; the control thread has the number after the last worker's.
 */

/* An owner's or former owner's copy for another node's peek: never a mirror. NULL if there is none, or copies are not
 * to be served now. With a reference. */
struct lc_item *lc_group_peek(struct lc_groups *groups, struct lc_slice group, struct lc_slice key, unsigned worker);

/*
 * Another node wrote the key: drops any copy and detaches the flight; under the key's lock it then calls under(arg)
 * (may be NULL). An unknown group is nothing to drop: under(arg) is called all the same. True if a copy was here.
 */
bool lc_group_invalidate(struct lc_groups *groups, struct lc_slice group, struct lc_slice key, unsigned worker,
                         void (*under)(void *arg), void *arg);

/*
 * An item handed over by a node that leaves: under the key's lock it is stored as our own if no copy but a mirror is
 * here, we own the key, and allow(arg) says so (not asked otherwise). ttl_ms: what is left, 0 for no expiry. True if it
 * was stored.
 */
bool lc_group_add(struct lc_groups *groups, struct lc_slice group, struct lc_slice key, struct lc_slice value,
                  int64_t ttl_ms, unsigned worker, bool (*allow)(void *arg), void *arg);

/* Drops every stored copy of every group and detaches all flights. Any thread. */
void lc_groups_drop_all(struct lc_groups *groups);

/* Counters of a group, summed over workers; monotonic but for the first five. */
struct lc_group_stats {
  struct lc_store_stats store;
  uint64_t limit_bytes; /* of its budget, shared or own */
  uint64_t pool_used_bytes;
  uint64_t flights, waiters;   /* now; flights of this group, waiters of all */
  uint64_t gets, hits, misses; /* gets = hits + misses; without those whose arguments are wrong */
  uint64_t coalesced;          /* misses that joined a load in progress */
  uint64_t loads;              /* started */
  uint64_t load_errors; /* loads that failed, timeouts included, without those for which nobody waited any more */
  uint64_t not_found, timeouts;
  uint64_t sets, deletes;    /* applied */
  uint64_t refused;          /* too many loads, draining, values over a limit */
  uint64_t evict_dropped;    /* evictions that the loader did not hear of: its queue was full */
  uint64_t mirror_hits;      /* of the hits */
  uint64_t forwards;         /* Gets sent to the owner */
  uint64_t forward_fails;    /* of these: not answered, so loaded here */
  uint64_t peeks, peek_hits; /* at a previous owner */
  uint64_t served;           /* forwarded Gets from other nodes, of the gets */
  uint64_t invalidated;      /* keys that other nodes wrote */
  uint64_t added;            /* items handed over by nodes that left */
};
void lc_group_stats(struct lc_groups *groups, size_t index, struct lc_group_stats *stats);

/* Requests that each worker answered from its own: gets + sets + deletes. For the spread over workers. */
uint64_t lc_groups_worker_requests(struct lc_groups *groups, unsigned worker);

#endif
